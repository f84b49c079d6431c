package telemetry

import (
	"bytes"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/condition"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestFiltersDecideWhoHasALine: the expression asks the request that is logged.
func TestFiltersDecideWhoHasALine(t *testing.T) {
	for expression, want := range map[string]bool{
		"":                     true,
		"response.code >= 400": true,
		"response.code < 400":  false,
		"request.path == '/a?b=c' && request.url_path == '/a' && request.host == 'catalog' && request.method == 'GET'": true,
		"request.useragent.startsWith('curl') && request.headers['user-agent'] == request.useragent":                   true,
		"response.headers['x-served-by'] == 'me'":                                                                      true,
		"connection.mtls && source.address == '10.0.0.1:4000'":                                                         true,
		"xds.cluster_name == 'inbound|8080||' && !has(xds.route_name)":                                                 true,
		"request.duration > duration('1ms') && request.duration < duration('1s')":                                      true,
		"request.size == 5 && response.size == 7":                                                                      true,
		"has(response.grpc_status)":                                                                                    false,
	} {
		var out bytes.Buffer
		logs, x := NewAccessLogs(&out), inbound(mutual(clientID))
		x.Conn.Via = &exchange.Via{AccessLog: []*exchange.AccessLog{{Text: "line", Filter: expression}}}
		x.Request.Path, x.Response.Status, x.Received, x.Sent = exchange.View("/a?b=c"), 503, 5, 7
		x.End = x.Start.Add(3 * time.Millisecond)
		x.Remote = x.Conn.Source.Addr()
		x.Request.Add("user-agent", "curl/8")
		x.Response.Add("x-served-by", "me")
		logs.log(x)
		logs.flush(nil)
		if (out.String() == "line\n") != want {
			t.Errorf("%s: logged %q", expression, out.String())
		}
	}
}

// TestEveryAttributeIsAnswered: no attribute of the language is one that the proxy does not know.
func TestEveryAttributeIsAnswered(t *testing.T) {
	x := inbound(nil)
	for _, name := range condition.Names() {
		f, err := newLineFilter("has(" + name + ")")
		if err != nil {
			f, err = newLineFilter("has(" + name + "['a'])") // of headers
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f.wants(x)
	}
}

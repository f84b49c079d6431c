package http1_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

// TestPoliciesSeeWhatIsAskedOfTheConnection: a denial that names connection or te holds, though neither goes any further as it came.
func TestPoliciesSeeWhatIsAskedOfTheConnection(t *testing.T) {
	named := func(name, value string) rbac.Policy {
		return rbac.Policy{Name: name, Principals: []rbac.Rule{{Kind: rbac.Any}},
			Permissions: []rbac.Rule{{Kind: rbac.Header, Name: name, Match: match.Config{Kind: match.Contains, Value: value, IgnoreCase: true}}}}
	}
	deny, err := rbac.New(rbac.Config{Action: rbac.Deny, Policies: []rbac.Policy{named("connection", "upgrade"), named("te", "trailers")}})
	if err != nil {
		t.Fatal(err)
	}
	b := backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hi") })
	p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
		p.http.Filters = []filter.Named{{Kind: filter.Deny, Filter: deny}}
	})
	for lines, want := range map[string]string{
		"": "200",
		"Connection: Upgrade\r\nUpgrade: websocket\r\n":            "403",
		"Connection: x, UPGRADE\r\nX: 1\r\nUpgrade: websocket\r\n": "403",
		"TE: gzip, trailers\r\n":                                   "403",
		"TE: gzip\r\n":                                             "200",
	} {
		c, r := p.dial()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n"+lines+"\r\n")
		if got := readHead(r); !strings.HasPrefix(got, "HTTP/1.1 "+want+" ") {
			t.Errorf("%q: got\n%s", lines, got)
		}
	}
}

package engine_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// obsolete are the cases of h2spec, which judges by RFC 7540, that RFC 9113 has made wrong, and why.
var obsolete = map[string]string{
	"http2/5.3.1/1": "priorities are deprecated (RFC 9113, 5.3.2): what a HEADERS frame says of dependencies is ignored, be it about itself",
	"http2/5.3.1/2": "priorities are deprecated (RFC 9113, 5.3.2): PRIORITY frames are ignored",
}

// both is the case that h2spec cannot judge on a port that speaks HTTP/1.1 as well: what does not begin with HTTP/2's preface is no HTTP/2 there (RFC
// 9113, 3.4), and answered in HTTP/1.1, which h2spec takes for a frame. noPreface holds what it asks for.
const both = "http2/3.5/2"

// crowd is the case that opens more streams than there may be: none of them may end before the last has begun.
const (
	crowd  = "http2/5.1.2/1"
	slowly = "/slowly"
)

// conforms runs h2spec's cases against a port: each on a connection of its own, as h2spec does.
func conforms(t *testing.T, port string, secure bool) {
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config{Host: "127.0.0.1", Port: number, Path: "/", Timeout: 30 * time.Second, MaxHeaderLen: 4000, TLS: secure, Insecure: true, Strict: true}
	cases := 0
	var walk func(*spec.TestGroup)
	walk = func(g *spec.TestGroup) {
		for i, tc := range append(g.Tests, g.StrictTests...) {
			cases++
			id := fmt.Sprintf("%s/%d", g.ID(), i+1)
			if id == both && !secure {
				continue
			}
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				c := c
				if obsolete[id] != "" {
					c.Timeout = time.Second // for which it waits in vain
				}
				if id == crowd {
					c.Path = slowly
				}
				conforming(t, id, tc, &c)
			})
		}
		for _, sub := range g.Groups {
			walk(sub)
		}
	}
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		walk(g)
	}
	if cases < 140 {
		t.Errorf("h2spec has only %d cases", cases)
	}
}

// conforming runs one case, which passes if and only if it is not obsolete.
func conforming(t *testing.T, id string, tc *spec.TestCase, c *config.Config) {
	conn, err := spec.Dial(c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = tc.Run(c, conn)
	why, old := obsolete[id]
	switch {
	case old && err == nil:
		t.Errorf("%s: it passes, though it is on the list: %s", tc.Desc, why)
	case old || err == nil:
	case errors.Is(err, spec.ErrSkipped):
		t.Errorf("%s: skipped", tc.Desc)
	default:
		t.Errorf("%s: %s\n%v", tc.Desc, tc.Requirement, err)
	}
}

// noPreface holds that a port which speaks HTTP/1.1 too refuses, in that, what is neither, and closes.
func noPreface(t *testing.T, port string) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, "INVALID CONNECTION PREFACE\r\n\r\n")
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 ") {
		t.Errorf("got %q, %v", got, err)
	}
}

// plainInbound is what a sidecar has for a port without mTLS.
func plainInbound() string {
	before, rest, _ := strings.Cut(serverResources, "  transport_socket:\n")
	_, after, _ := strings.Cut(rest, "  filters:\n")
	return strings.Replace(before, "transport_protocol: tls}", "transport_protocol: raw_buffer}", 1) + "  filters:\n" + after
}

// secureInbound is what a sidecar has for a port with TLS whose clients need not say who they are.
func secureInbound() string {
	return strings.Replace(serverResources, "require_client_certificate: true", "require_client_certificate: false", 1)
}

// TestHTTP2 holds that gateways and sidecars pass h2spec, in the clear and over TLS with ALPN.
func TestHTTP2(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == slowly {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, strings.Repeat("hello ", 300))
	}))
	t.Cleanup(app.Close)
	address := app.Listener.Addr().String()
	edge, _ := gateway(t, gatewayResources, address)
	t.Run("gateway", func(t *testing.T) { conforms(t, edge.Inbound, false) })
	t.Run("gateway with TLS", func(t *testing.T) { conforms(t, edge.Outbound, true) })
	for name, resources := range map[string]string{"sidecar": plainInbound(), "sidecar with TLS": secureInbound()} {
		plane := newPlane(t)
		w := world{Inbound: ports.Free(t), App: portOf(t, address), Deny: "/secret"}
		plane.push("catalog", fill(t, resources, w))
		ready(t, plane.start("catalog"))
		t.Run(name, func(t *testing.T) { conforms(t, w.Inbound, resources == secureInbound()) })
	}
	t.Run("no preface", func(t *testing.T) { noPreface(t, edge.Inbound) })
}

//go:build !race || norace

package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/cors"
	"github.com/heddle-mesh/heddle/sidecar/filter/fault"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
	"github.com/heddle-mesh/heddle/sidecar/match"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
)

// canned answers every request with the same bytes, without allocating.
func canned(t testing.TB) string {
	answer := []byte("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 64\r\n\r\n" + string(bytes.Repeat([]byte("x"), 64)))
	return script(t, func(c net.Conn, _ *bufio.Reader) {
		buf := make([]byte, 4096)
		for n := 0; ; {
			m, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				if _, err := c.Write(answer); err != nil {
					return
				}
				n = 0
			}
		}
	})
}

// exactly is a string matcher.
func exactly(v string) match.Config { return match.Config{Kind: match.Exact, Value: v} }

// policies are two DENY and two ALLOW filters with rules of every kind that policies compile to.
func policies(t testing.TB) []filter.Named {
	t.Helper()
	anybody, who := []rbac.Rule{{Kind: rbac.Any}}, rbac.Rule{Kind: rbac.Principal, Match: match.Config{Kind: match.Prefix, Value: "spiffe://elsewhere/"}}
	deny := rbac.Config{Action: rbac.Deny, Policies: []rbac.Policy{
		{Name: "ns[shop]-policy[deny]-rule[0]", Principals: []rbac.Rule{who}, Permissions: anybody},
		{Name: "ns[shop]-policy[deny]-rule[1]", Principals: anybody, Permissions: []rbac.Rule{{Kind: rbac.And, Rules: []rbac.Rule{
			{Kind: rbac.Header, Name: ":method", Match: exactly("DELETE")}, {Kind: rbac.Path, Match: match.Config{Kind: match.Prefix, Value: "/admin"}}}}}},
	}}
	allow := rbac.Config{Policies: []rbac.Policy{
		{Name: "ns[shop]-policy[allow]-rule[0]", Principals: []rbac.Rule{who}, Permissions: anybody},
		{Name: "ns[shop]-policy[allow]-rule[1]", Principals: []rbac.Rule{{Kind: rbac.Or, Rules: []rbac.Rule{
			{Kind: rbac.Source, Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Kind: rbac.Peer}}}}, Permissions: []rbac.Rule{{Kind: rbac.And, Rules: []rbac.Rule{
			{Kind: rbac.Template, Pattern: "/a/{*}"}, {Kind: rbac.Not, Rules: []rbac.Rule{{Kind: rbac.Header, Name: "x-user", Match: exactly("joe")}}}}}}},
	}}
	var out []filter.Named
	for _, c := range []struct {
		kind   filter.Kind
		config rbac.Config
	}{{filter.Deny, deny}, {filter.Deny, deny}, {filter.Allow, allow}, {filter.Allow, allow}} {
		f, err := rbac.New(c.config)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, filter.Named{Kind: c.kind, Filter: f})
	}
	return out
}

// known is a listener's and a cluster's TLS whose handshakes prove who is there and leave the bytes alone.
type known struct{}

func (known) Server(_ context.Context, raw net.Conn) (net.Conn, *exchange.Security, error) {
	return raw, proven("spiffe://cluster.local/ns/shop/sa/storefront"), nil
}
func (known) Accepts(*exchange.Security) bool { return true }
func (known) Handshake(_ context.Context, raw net.Conn, _ *exchange.Endpoint, _ string, _ exchange.Protocol) (net.Conn, *exchange.Security, error) {
	return raw, proven("spiffe://cluster.local/ns/shop/sa/catalog"), nil
}

func proven(uri string) *exchange.Security {
	return &exchange.Security{Mutual: true, Cert: make([]byte, 700), Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", Hash: "00ff", LocalURI: "spiffe://cluster.local/ns/shop/sa/web",
		Identity: exchange.Identity{URI: uri, TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "storefront"}}
}

// nobody knows no workload.
type nobody struct{}

func (nobody) Workload(netip.Addr, string) *exchange.Workload { return nil }

// roles are what a hop differs in.
func roles() map[string]func(*mesh) {
	logged := []*exchange.AccessLog{{Path: "/dev/stdout"}}
	return map[string]func(*mesh){
		"sidecar, outbound": func(p *mesh) {
			p.cfg.Listeners[0].Via = &exchange.Via{Listener: "l", Direction: exchange.Outbound, AccessLog: logged}
			p.cfg.Clusters["c"].Sockets = []upstream.Socket{{TLS: known{}}}
		},
		"sidecar, inbound": func(p *mesh) {
			p.cfg.Listeners[0].Via = &exchange.Via{Listener: "l", Direction: exchange.Inbound, AccessLog: logged}
			p.cfg.Listeners[0].Chains[0].TLS = known{}
			p.http.ForwardCert, p.http.CertSubject, p.http.CertURI, p.http.CertDNS, p.http.CertPEM = config.AppendForward, true, true, true, true
		},
		"consistent hashing": func(p *mesh) {
			rs := sixRoutes()
			rs[1].Hash = []route.HashPolicy{{Kind: route.HashHeader, Name: "x-user"}, {Kind: route.HashQuery, Name: "c"}, {Kind: route.HashSourceIP},
				{Kind: route.HashCookie, Name: "session", Cookie: &route.Cookie{TTL: time.Minute, Path: "/"}}}
			p.routes(rs)
			p.cfg.Clusters["c"].Balancer, p.cfg.Clusters["c"].Hashing = upstream.Maglev, hashing.Sizes{Size: 65_537}
		},
		"gateway": func(p *mesh) {
			p.cfg.Listeners[0].Via = &exchange.Via{Listener: "l", Direction: exchange.Outbound, Gateway: true, AccessLog: logged}
			p.cfg.Clusters["c"].Sockets = []upstream.Socket{{TLS: known{}}}
			p.http.UseRemoteAddress, p.http.ForwardCert = true, config.SanitizeSet
		},
	}
}

// sixRoutes have header operations both ways and a retry policy.
func sixRoutes() []route.RouteConfig {
	return []route.RouteConfig{
		{Match: route.Match{Path: "/other"}, Clusters: []route.Weighted{{Cluster: "c"}}},
		{Match: route.Match{Path: "/", Headers: []route.HeaderMatch{{Name: "x-user", Match: route.StringMatch{Value: "no"}, Invert: true}}},
			Clusters: []route.Weighted{{Cluster: "c", Weight: 90}, {Cluster: "c", Weight: 10}},
			Request:  headers.Config{Add: []headers.Op{{Name: "x-from", Value: "%DOWNSTREAM_REMOTE_ADDRESS%", Action: headers.Overwrite}}},
			Response: headers.Config{Remove: []string{"x-powered-by"}, Add: []headers.Op{{Name: "x-served", Value: "heddle"}}},
			Retry:    &route.Retry{On: route.OnConnectFailure | route.OnRefusedStream, Attempts: 2, OtherHost: true, HostPicks: 5}},
	}
}

// sixFilters is a mesh hop's own work: six filters, header operations both ways, a retry policy, metrics and the access log.
func sixFilters(t testing.TB, role func(*mesh)) (*mesh, *telemetry.AccessLogs) {
	b := canned(t)
	corsFilter, err := cors.New(cors.Config{Origins: []cors.Origin{{Exact: "https://a"}}})
	if err != nil {
		t.Fatal(err)
	}
	faultFilter, err := fault.New(fault.Config{Status: 500})
	if err != nil {
		t.Fatal(err)
	}
	logs := telemetry.NewAccessLogs(io.Discard)
	recorder := telemetry.New(telemetry.Options{Peers: nobody{}, Logs: logs})
	recorder.SetSelf(telemetry.Self{Workload: &exchange.Workload{Name: "web", Namespace: "shop"}, Identity: "spiffe://cluster.local/ns/shop/sa/web"})
	p := told(t, &book{}, recorder, sixRoutes(), map[string][]string{"c": {b}}, role)
	p.http.Filters = append(policies(t), filter.Named{Kind: filter.CORS, Filter: corsFilter}, filter.Named{Kind: filter.Fault, Filter: faultFilter})
	return p, logs
}

// caller sends the same request again and again on one connection.
func caller(t testing.TB, addr string) func() {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	request := []byte("GET /a/b?c=d HTTP/1.1\r\nHost: reviews.shop.svc.cluster.local:9080\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nX-User: jane\r\nx-request-id: 0\r\n\r\n")
	buf := make([]byte, 4096)
	tail := bytes.Repeat([]byte("x"), 64)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; {
			m, err := c.Read(buf[n:])
			if err != nil {
				t.Fatal(err)
			}
			if n += m; bytes.HasSuffix(buf[:n], tail) {
				if !bytes.Contains(buf[:n], []byte("x-served: heddle")) {
					t.Fatalf("got %q", buf[:n])
				}
				return
			}
		}
	}
}

// TestNoAllocation: in every role a proxied request allocates nothing, with the filters, the metrics and the access log that a mesh has.
func TestNoAllocation(t *testing.T) {
	for name, role := range roles() {
		t.Run(name, func(t *testing.T) {
			p, logs := sixFilters(t, role)
			writing, stop := context.WithCancel(t.Context())
			defer stop()
			go logs.Run(writing)
			call := caller(t, p.addr())
			for range 200 {
				call()
			}
			if n := testing.AllocsPerRun(2000, call); n != 0 {
				t.Errorf("%v allocations for a proxied keep-alive GET", n)
			}
			if logs.Dropped() > 0 {
				t.Error("the log was not written")
			}
		})
	}
}

// TestIdleMemory holds what an idle client connection costs once it rests, the client's end in this process included.
func TestIdleMemory(t *testing.T) {
	const conns, most = 500, 8 << 10 // 5.3 KB, or 1.2 KB more where the runtime begins goroutines with 4 KB of stack, as it does where others have had more
	p, _ := sixFilters(t, func(*mesh) {})
	caller(t, p.addr())()
	before := inUse()
	for range conns {
		c, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1024)
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	rested(t, conns+1)
	each := (inUse() - before) / conns
	for n := 0; each > most && n < 10; n++ { // stacks that have grown shrink by half at each collection
		each = (inUse() - before) / conns
	}
	if each > most {
		t.Errorf("an idle connection costs %d bytes, want at most %d", each, most)
	} else {
		t.Logf("an idle connection costs %d bytes", each)
	}
}

func inUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

func BenchmarkHop(b *testing.B) {
	p, _ := sixFilters(b, func(*mesh) {})
	call := caller(b, p.addr())
	call()
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}

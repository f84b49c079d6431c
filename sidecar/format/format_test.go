package format

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func request() *exchange.Exchange {
	start := time.Date(2026, 11, 24, 1, 2, 3, 4_000_000, time.UTC)
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{ID: 7, Source: netip.MustParseAddrPort("10.0.0.1:4000"), Destination: netip.MustParseAddrPort("10.0.0.2:80"),
		Security: &exchange.Security{Version: "TLSv1.3", Identity: exchange.Identity{URI: "spiffe://td/ns/a/sa/b"}}})
	x.Request.Method, x.Request.Path, x.Request.Authority = exchange.View("GET"), exchange.View("/a?b"), exchange.View("shop")
	x.Request.Add("user-agent", "curl")
	x.Protocol, x.Start, x.End, x.Response.Status = exchange.HTTP1, start, start.Add(1500*time.Microsecond), 200
	x.Upstream = exchange.Upstream{Cluster: &exchange.ClusterInfo{Name: "outbound|80||shop"}, Endpoint: &exchange.Endpoint{Address: netip.MustParseAddrPort("10.0.0.9:8080")}}
	return x
}

func TestAppend(t *testing.T) {
	for text, want := range map[string]string{
		"plain, 100%%":                             "plain, 100%",
		"%REQ(:METHOD)% %REQ(X-NO?:PATH)%":         "GET /a?b",
		"%REQ(X-NO)%|%RESP(X-NO)%":                 "-|-",
		"%RESP(:STATUS)%|%RESP(X-NO?:STATUS)%":     "200|200",
		"%RESP(:STATUS?X-NO):1%":                   "2",
		"%REQ(USER-AGENT):2%":                      "cu",
		"%PROTOCOL% %RESPONSE_CODE% %DURATION%":    "HTTP/1.1 200 1",
		"[%START_TIME%] %START_TIME(%s)%":          "[2026-11-24T01:02:03.004Z] 1795482123",
		"%UPSTREAM_HOST% %UPSTREAM_LOCAL_ADDRESS%": "10.0.0.9:8080 -",
		"%UPSTREAM_CLUSTER_RAW%":                   "outbound|80||shop",
		"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": "10.0.0.1",
		"%DOWNSTREAM_LOCAL_ADDRESS%":               "10.0.0.2:80",
		"%DOWNSTREAM_PEER_URI_SAN%":                "spiffe://td/ns/a/sa/b",
		"%UPSTREAM_TLS_VERSION%":                   "-",
		"%RESPONSE_FLAGS% %GRPC_STATUS%":           "- -",
		"%RESPONSE_CODE_DETAILS%":                  "via_upstream",
		"%REQ_WITHOUT_QUERY(X-NO?:PATH)%":          "/a",
		"%REQ_WITHOUT_QUERY(X-NO?:PATH):1%":        "/",
		"%REQ_WITHOUT_QUERY(USER-AGENT)%":          "curl",
		"%PATH% %PATH(NQ)% %PATH(WQ:PATH)%":        "/a?b /a /a?b",
		"%PATH(NQ:ORIG)% %PATH(:ORIG_OR_PATH):2%":  "- /a",
		"%QUERY_PARAM(b)%|%QUERY_PARAM(c)%":        "-|-",
		"%DOWNSTREAM_REMOTE_PORT%":                 "4000",
		"%RESPONSE_FLAGS_LONG%":                    "-",
		"%HOSTNAME%":                               hostname(),
		"%STREAM_ID%":                              "-",
		"%REQUESTED_SERVER_NAME%":                  "-",
	} {
		f, err := New(text, "-")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(f.Append(nil, request())); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestStreamID: a request has the id that it came with, and each connection one of its own.
func TestStreamID(t *testing.T) {
	f, err := New("%STREAM_ID%", "-")
	if err != nil {
		t.Fatal(err)
	}
	x := request()
	x.Request.Add("x-request-id", "abc")
	if got := string(f.Append(nil, x)); got != "abc" {
		t.Errorf("a request: %s", got)
	}
	x.Protocol = exchange.TCP
	first := string(f.Append(nil, x))
	again := string(f.Append(nil, x))
	x.Conn.ID++
	if other := string(f.Append(nil, x)); len(first) != 36 || first != again || first == other {
		t.Errorf("connections: %s, %s, %s", first, again, other)
	}
}

func TestRefuses(t *testing.T) {
	for _, text := range []string{"%", "a %REQ(x)", "%REQ()%", "%REQ_WITHOUT_QUERY()%", "%ENVIRONMENT(X)%", "%DOWNSTREAM_PEER_CERT%", "%TRAILER(x)%", "%NO_SUCH%", "%REQ(x):0%", "%REQ(x):a%", "%START_TIME(%Q)%", "%TLS_VERSION%", "%PROTOCOL(x)%", "%REQ)x(%"} {
		if _, err := New(text, "-"); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add("%REQ(:METHOD)% %START_TIME(%s)% 100%%")
	x := request()
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := New(text, "-"); err == nil {
			c.Append(nil, x)
		}
	})
}

// TestQueryParameters: the first of a name counts, without its escapes.
func TestQueryParameters(t *testing.T) {
	f, err := New("%QUERY_PARAM(a b):4%", "-")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/": "-", "/a b=1": "-", "/?a%20b=%31%zz&a%20b=2": "1%zz", "/?A%20b=1&a%20b=x%20yzz": "x yz", "/?a%20b": "-", "/?a%20b=%0a": "%0a"} {
		x := request()
		x.Request.Path = exchange.View(path)
		if got := string(f.Append(nil, x)); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// TestFlags: each flag has a short name and a long one.
func TestFlags(t *testing.T) {
	f, err := New("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "-")
	if err != nil {
		t.Fatal(err)
	}
	for want, flags := range map[string]exchange.Flag{
		"UH,URX NoHealthyUpstream,UpstreamRetryLimitExceeded":                 exchange.FlagNoHealthyUpstream | exchange.FlagRetriesExceeded,
		"DC,UAEX DownstreamConnectionTermination,UnauthorizedExternalService": exchange.FlagDownstreamTermination | exchange.FlagUnauthorized,
		"UMSDR,OM UpstreamMaxStreamDurationReached,OverloadManagerTerminated": exchange.FlagUpstreamDuration | exchange.FlagOverload,
		"DR DownstreamRemoteReset":                                            exchange.FlagDownstreamReset,
	} {
		x := request()
		x.Flags = flags
		if got := string(f.Append(nil, x)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

package forward

import (
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// request makes a run of "METHOD path" and header lines.
func request(c config.HTTP, line string, fields ...string) *run {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{Source: netip.MustParseAddrPort("10.0.0.7:4711")})
	method, path, _ := strings.Cut(line, " ")
	x.Request.Method, x.Request.Path, x.Request.Authority = exchange.View(method), exchange.View(path), exchange.View("a")
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		x.Request.Add(name, value)
	}
	return &run{x: x, http: &c}
}

// TestForwardedPort: at an edge that is asked to, upstreams are told of the port that the client has connected to; what a client says of it is not believed.
func TestForwardedPort(t *testing.T) {
	for name, c := range map[string]struct {
		http config.HTTP
		said []string
		want string
	}{
		"not asked for":        {config.HTTP{UseRemoteAddress: true}, nil, ""},
		"inside of the mesh":   {config.HTTP{TellPort: true}, nil, ""},
		"at an edge":           {config.HTTP{TellPort: true, UseRemoteAddress: true}, nil, "443"},
		"a client's":           {config.HTTP{TellPort: true, UseRemoteAddress: true}, []string{"x-forwarded-port: 1", "x-forwarded-port: 2"}, "443"},
		"a trusted proxy's":    {config.HTTP{TellPort: true, UseRemoteAddress: true, TrustedHops: 1}, []string{"x-forwarded-port: 1"}, "1"},
		"a silent proxy's":     {config.HTTP{TellPort: true, UseRemoteAddress: true, TrustedHops: 1}, nil, "443"},
		"a client's, as it is": {config.HTTP{UseRemoteAddress: true}, []string{"x-forwarded-port: 1"}, "1"},
	} {
		r := request(c.http, "GET /", c.said...)
		r.x.Conn.Destination = netip.MustParseAddrPort("10.0.0.1:443")
		r.prepare()
		if got := r.x.Request.Joined("x-forwarded-port"); string(got) != c.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// TestScheme: what a request says of its scheme stays, as in Envoy, but for what an edge is told in plaintext; x-forwarded-proto speaks of the connection.
func TestScheme(t *testing.T) {
	mesh, edge, hops := config.HTTP{}, config.HTTP{UseRemoteAddress: true}, config.HTTP{UseRemoteAddress: true, TrustedHops: 1}
	for name, c := range map[string]struct {
		http         config.HTTP
		tls          bool
		came, proto  string
		want, passed string
	}{
		"nothing said":                           {mesh, false, "", "", "http", "http"},
		"nothing said over TLS":                  {mesh, true, "", "", "https", "https"},
		"plaintext in the mesh's TLS":            {mesh, true, "http", "http", "http", "http"},
		"the same, of a client without a proxy":  {mesh, true, "http", "", "http", "https"},
		"the same over HTTP/1":                   {mesh, true, "", "http", "http", "http"},
		"TLS before the mesh":                    {mesh, false, "https", "", "https", "http"},
		"TLS before the mesh over HTTP/1":        {mesh, false, "", "https", "https", "https"},
		"in upper case":                          {mesh, true, "HTTP", "", "http", "https"},
		"no scheme":                              {mesh, true, "ftp", "ftp", "https", "ftp"},
		"an edge":                                {edge, false, "https", "https", "http", "http"},
		"an edge with TLS":                       {edge, true, "https", "http", "https", "https"},
		"an edge with TLS, said to be plaintext": {edge, true, "http", "", "http", "https"},
		"an edge with TLS over HTTP/1":           {edge, true, "", "http", "https", "https"},
		"a trusted proxy":                        {hops, false, "", "https", "https", "https"},
		"a trusted proxy in upper case":          {hops, false, "", "HTTPS", "https", "HTTPS"},
		"a trusted proxy that says nothing":      {hops, false, "", "", "http", "http"},
		"a trusted proxy that says no scheme":    {hops, false, "", "ftp", "http", "ftp"},
		"a trusted proxy over HTTP/2":            {hops, false, "http", "https", "http", "https"},
		"a trusted proxy with TLS":               {hops, true, "", "http", "http", "http"},
	} {
		r := request(c.http, "GET /")
		if c.proto != "" {
			r.x.Request.Add("x-forwarded-proto", c.proto)
		}
		if r.x.Request.Scheme = exchange.View(c.came); c.tls {
			r.x.Conn.Security = &exchange.Security{}
		}
		r.prepare()
		if h := &r.x.Request; !h.Scheme.Is(c.want) || !h.Get("x-forwarded-proto").Is(c.passed) {
			t.Errorf("%s: got %s, forwarded as %s", name, h.Scheme, h.Get("x-forwarded-proto"))
		}
	}
}

func TestNormalize(t *testing.T) {
	base := config.HTTP{NormalizePath: true}
	merge := config.HTTP{NormalizePath: true, MergeSlashes: true}
	reject := config.HTTP{NormalizePath: true, EscapedSlashes: config.SlashesReject}
	decode := config.HTTP{NormalizePath: true, MergeSlashes: true, EscapedSlashes: config.SlashesUnescapeForward}
	for name, c := range map[string]struct {
		http     config.HTTP
		in, want string // want "": refused
	}{
		"nothing asked for":          {config.HTTP{}, "/a/../b", "/a/../b"},
		"nothing to do":              {base, "/a/b.c?d=/../e", "/a/b.c?d=/../e"},
		"dots":                       {base, "/a/./b/../c", "/a/c"},
		"dots at the end":            {base, "/a/b/..", "/a/"},
		"dots above the root":        {base, "/../../a", "/a"},
		"all gone":                   {base, "/a/..", "/"},
		"encoded dots":               {base, "/a/%2E%2e/b", "/b"},
		"unreserved are decoded":     {base, "/%61%7e", "/a~"},
		"reserved stay, upper case":  {base, "/a%2fb%3f", "/a%2Fb%3F"},
		"backslash":                  {base, `/a\..\b`, "/b"},
		"slashes stay":               {base, "/a//b", "/a//b"},
		"dots after double slash":    {base, "/a//../b", "/a/b"},
		"slashes merge":              {merge, "/a//b///c", "/a/b/c"},
		"escaped slash refused":      {reject, "/a%2fb", ""},
		"escaped backslash refused":  {reject, "/a%5Cb", ""},
		"escaped slash decoded":      {decode, "/a%2f..%2fb", "/b"},
		"escaped NUL":                {base, "/a%00", ""},
		"broken escape":              {base, "/a%2", ""},
		"fragment":                   {config.HTTP{}, "/a#b", ""},
		"not a path":                 {config.HTTP{}, "a", ""},
		"empty":                      {config.HTTP{}, "", ""},
		"query is left alone":        {base, "/a/../b?x=%zz/../", "/b?x=%zz/../"},
		"three dots are no dots":     {base, "/a/.../b", "/a/.../b"},
		"hidden file is no dot":      {base, "/a/.b/..c", "/a/.b/..c"},
		"double encoding stays so":   {base, "/%252e%252e/a", "/%252e%252e/a"},
		"an encoded slash ends none": {base, "/a%2F../b", "/a%2F../b"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(c.http, "GET "+c.in)
			o := r.normalize()
			if o == exchange.OK != (c.want != "") || o == exchange.OK && !r.x.Request.Path.Is(c.want) {
				t.Errorf("got %v %q, want %q", o, r.x.Request.Path, c.want)
			}
		})
	}
}

// TestEscapedSlashesAreRedirected: the client is told the path that would be judged, never another host.
func TestEscapedSlashesAreRedirected(t *testing.T) {
	plain := config.HTTP{EscapedSlashes: config.SlashesUnescapeRedirect}
	base := config.HTTP{NormalizePath: true, EscapedSlashes: config.SlashesUnescapeRedirect}
	for in, c := range map[string]struct {
		http config.HTTP
		grpc bool
		o    exchange.Outcome
		to   string
	}{
		"/a%2Fb?c=%2f":    {plain, false, exchange.LocalReply, "/a/b?c=%2f"},
		"/a%2f..%2fb":     {base, false, exchange.LocalReply, "/b"},
		"/a%5c..%5cb%20c": {base, false, exchange.LocalReply, "/b%20c"},
		"/%2fevil.test/":  {base, false, exchange.LocalReply, "/evil.test/"},
		"/%5C%2Fevil":     {plain, false, exchange.LocalReply, "/evil"},
		"/a/../b%20":      {base, false, exchange.OK, ""},
		"/a%2f%00":        {base, false, exchange.BadRequest, ""},
		"/pkg.S%2fM":      {base, true, exchange.BadRequest, ""},
	} {
		r := request(c.http, "GET "+in)
		r.x.GRPC = c.grpc
		o := r.normalize()
		if to := r.x.Response.Get("location"); o != c.o || !to.Is(c.to) || o == exchange.LocalReply && r.x.Reply.Status != 307 {
			t.Errorf("%s: got %v %d %q, want %v %q", in, o, r.x.Reply.Status, to, c.o, c.to)
		}
	}
}

func TestForwardCert(t *testing.T) {
	peer := &exchange.Security{Mutual: true, Hash: "h", Subject: `O="x`, LocalURI: "spiffe://me", DNS: []string{"d"},
		Identity: exchange.Identity{URI: "spiffe://you"}}
	const mine = `By=spiffe://me;Hash=h;Subject="O=\"x";URI=spiffe://you;DNS=d`
	for name, c := range map[string]struct {
		mode config.ForwardCert
		sec  *exchange.Security
		want string
	}{
		"sanitize":                     {config.Sanitize, peer, ""},
		"forward only":                 {config.ForwardOnly, peer, "old"},
		"forward only, plaintext":      {config.ForwardOnly, nil, ""},
		"append":                       {config.AppendForward, peer, "old," + mine},
		"append, plaintext":            {config.AppendForward, nil, ""},
		"append, TLS of strangers":     {config.AppendForward, &exchange.Security{}, ""},
		"sanitize and set":             {config.SanitizeSet, peer, mine},
		"sanitize and set, plaintext":  {config.SanitizeSet, nil, ""},
		"always forward, in plaintext": {config.AlwaysForwardOnly, nil, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(config.HTTP{ForwardCert: c.mode, CertSubject: true, CertURI: true, CertDNS: true}, "GET /", "x-forwarded-client-cert: old")
			r.x.Conn.Security = c.sec
			r.forwardCert()
			if got := r.x.Request.Get("x-forwarded-client-cert").Copy(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestForwardCertNames: what a certificate calls its owner is quoted where it would be read as something else, and no name where it holds bytes that
// none has.
func TestForwardCertNames(t *testing.T) {
	for name, c := range map[string]struct {
		uri  string
		dns  []string
		want string
	}{
		"plain names":              {"spiffe://td/ns/a/sa/b", []string{"a.example.com", "*.b"}, "URI=spiffe://td/ns/a/sa/b;DNS=a.example.com;DNS=*.b"},
		"a name that adds a pair":  {"u", []string{"a;URI=spiffe://td/admin"}, `URI=u;DNS="a;URI=spiffe://td/admin"`},
		"a name that adds another": {"u", []string{"a,By=x"}, `URI=u;DNS="a,By=x"`},
		"quotes and backslashes":   {`u"x`, []string{`a\`, `\";URI=x`}, `URI="u\"x";DNS="a\\";DNS="\\\";URI=x"`},
		"a URI with a query":       {"https://a?x=1", nil, `URI="https://a?x=1"`},
		"line ends":                {"u\r\nx: y", []string{"a\r\n\r\nGET /admin HTTP/1.1", "b"}, "DNS=b"},
		"other control bytes":      {"u", []string{"ad\x00min", "ad\tmin", "ad\x7fmin"}, "URI=u"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(config.HTTP{ForwardCert: config.SanitizeSet, CertURI: true, CertDNS: true}, "GET /")
			r.x.Conn.Security = &exchange.Security{Mutual: true, Hash: "h", LocalURI: "me", DNS: c.dns, Identity: exchange.Identity{URI: c.uri}}
			r.forwardCert()
			if got := r.x.Request.Get("x-forwarded-client-cert").Copy(); got != "By=me;Hash=h;"+c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestForwardCertPairs: what a certificate does not say, and what nobody asks for, is not told.
func TestForwardCertPairs(t *testing.T) {
	der := make([]byte, 0, 256)
	for i := range 256 {
		der = append(der, byte(i))
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	told := `;Cert="` + strings.NewReplacer("\n", "%0A", " ", "%20", "+", "%2B", "/", "%2F", "=", "%3D").Replace(text) + `"`
	for name, c := range map[string]struct {
		http     config.HTTP
		security exchange.Security
		want     string
	}{
		"our certificate has no URI":         {config.HTTP{}, exchange.Security{Hash: "h"}, "Hash=h"},
		"the certificate, where asked for":   {config.HTTP{CertPEM: true}, exchange.Security{Hash: "h", LocalURI: "me", Cert: der}, "By=me;Hash=h" + told},
		"nobody asks for the certificate":    {config.HTTP{}, exchange.Security{Hash: "h", LocalURI: "me", Cert: der}, "By=me;Hash=h"},
		"the certificate before other facts": {config.HTTP{CertPEM: true, CertURI: true}, exchange.Security{Hash: "h", Cert: der}, "Hash=h" + told + ";URI="},
	} {
		t.Run(name, func(t *testing.T) {
			c.http.ForwardCert, c.security.Mutual = config.SanitizeSet, true
			r := request(c.http, "GET /")
			r.x.Conn.Security = &c.security
			r.forwardCert()
			if got := r.x.Request.Get("x-forwarded-client-cert").Copy(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEdge(t *testing.T) {
	for name, c := range map[string]struct {
		hops       uint32
		old        string
		remote     string
		forwarded  string
		proto      string
		wantsProto string
	}{
		"nothing before":            {0, "", "10.0.0.7", "10.0.0.7", "", "http"},
		"nothing before is trusted": {0, "1.1.1.1", "10.0.0.7", "1.1.1.1,10.0.0.7", "https", "http"},
		"one hop":                   {1, "1.1.1.1, 2.2.2.2", "2.2.2.2", "1.1.1.1, 2.2.2.2,10.0.0.7", "https", "https"},
		"two hops":                  {2, "1.1.1.1, 2.2.2.2", "1.1.1.1", "1.1.1.1, 2.2.2.2,10.0.0.7", "", "http"},
		"more hops than there are":  {3, "1.1.1.1", "10.0.0.7", "1.1.1.1,10.0.0.7", "", "http"},
		"no address":                {1, "unknown", "10.0.0.7", "unknown,10.0.0.7", "", "http"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := []string{"x-envoy-retry-on: 5xx", "x-request-id: theirs", "x-envoy-peer-metadata: lies"}
			if c.old != "" {
				fields = append(fields, "x-forwarded-for: "+c.old)
			}
			if c.proto != "" {
				fields = append(fields, "x-forwarded-proto: "+c.proto)
			}
			r := request(config.HTTP{UseRemoteAddress: true, TrustedHops: c.hops, RequestID: true}, "GET /", fields...)
			if o := r.prepare(); o != exchange.OK {
				t.Fatal(o.Details())
			}
			h := &r.x.Request
			if r.x.Remote.String() != c.remote || !h.Get("x-forwarded-for").Is(c.forwarded) || !h.Get("x-forwarded-proto").Is(c.wantsProto) {
				t.Errorf("got %v %q %q", r.x.Remote, h.Get("x-forwarded-for"), h.Get("x-forwarded-proto"))
			}
			if !h.Get("x-envoy-external-address").Is(c.remote) {
				t.Errorf("the client is said to be %q", h.Get("x-envoy-external-address"))
			}
			if h.Has("x-envoy-retry-on") || h.Has("x-envoy-peer-metadata") || h.Get("x-request-id").Is("theirs") || len(h.Get("x-request-id")) != 36 {
				t.Errorf("foreign fields stay: %v", h.Fields)
			}
		})
	}
}

// TestInternalClient: what internal addresses may say of the mesh stays; a client with a proxy before it is not internal.
func TestInternalClient(t *testing.T) {
	for name, c := range map[string]struct {
		internal string
		before   string
		stays    bool
	}{
		"internal":                 {"10.0.0.0/8", "", true},
		"elsewhere":                {"127.0.0.1/32", "", false},
		"internal, behind a proxy": {"10.0.0.0/8", "10.0.0.9", false},
	} {
		t.Run(name, func(t *testing.T) {
			fields := []string{"x-envoy-retry-on: 5xx", "x-envoy-internal: lies", "x-request-id: theirs"}
			if c.before != "" {
				fields = append(fields, "x-forwarded-for: "+c.before)
			}
			r := request(config.HTTP{UseRemoteAddress: true, RequestID: true, Internal: []netip.Prefix{netip.MustParsePrefix(c.internal)}}, "GET /", fields...)
			r.prepare()
			h := &r.x.Request
			if id := h.Get("x-request-id"); id.Is("theirs") != c.stays || !c.stays && len(id) != 36 {
				t.Errorf("the request's id is %q", id)
			}
			if h.Has("x-envoy-retry-on") != c.stays || h.Get("x-envoy-internal").Is("true") != c.stays || h.Has("x-envoy-internal") != c.stays {
				t.Errorf("got %v", h.Fields)
			}
		})
	}
}

func TestSidecarTrustsNoForwardedAddress(t *testing.T) {
	r := request(config.HTTP{RequestID: true}, "GET /", "x-forwarded-for: 1.1.1.1", "x-request-id: kept")
	r.prepare()
	h := &r.x.Request
	if r.x.Remote.String() != "10.0.0.7" || !h.Get("x-forwarded-for").Is("1.1.1.1") || !h.Get("x-request-id").Is("kept") {
		t.Errorf("got %v %v", r.x.Remote, h.Fields)
	}
}

// TestFaultForGRPC: a fault's grpc-status reaches the client, 0 too; without one, the HTTP status decides.
func TestFaultForGRPC(t *testing.T) {
	ok := 0
	for want, reply := range map[string]exchange.Reply{"0": {Status: 200, GRPC: &ok}, "14": {Status: 503}, "2": {Status: 200}} {
		r := request(config.HTTP{}, "POST /shop.Catalog/Get")
		r.p, r.x.GRPC, r.x.Reply = New(Options{}), true, reply
		r.reply(exchange.FaultAbort)
		if got := r.x.Response.Get("grpc-status"); !got.Is(want) || r.x.Response.Status != 200 {
			t.Errorf("%+v: got %d, grpc-status %s", reply, r.x.Response.Status, got)
		}
	}
}

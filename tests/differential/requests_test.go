package differential

import (
	"fmt"
	"strings"
)

// questions are all cases.
func questions() []question {
	var out []question
	for _, group := range []struct {
		name  string
		cases []question
	}{
		{"path", paths()}, {"target", targets()}, {"method", methods()}, {"head", heads()}, {"host", hosts()}, {"framing", framings()}, {"connection", connections()}, {"upgrade", upgrades()},
		{"response", responses()}, {"retry", retries()}, {"full", limits()}, {"time", times()}, {"redirect", redirects()}, {"rewrite", rewrites()}, {"direct", directs()}, {"cors", corses()}, {"fault", faults()},
		{"operation", operations()}, {"match", matches()}, {"shadow", shadows()}, {"policy", policies()}, {"forwarded", forwarded()}, {"scheme", schemes()}, {"id", requestIDs()}, {"certificate", certificates()},
		{"stream", streams()}, {"grpc", calls()},
	} {
		for _, q := range group.cases {
			q.name = group.name + "/" + q.name
			out = append(out, q)
		}
	}
	return out
}

// request writes a request to a host of the mesh.
func request(method, target, host string, lines ...string) string {
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(append([]string{"Host: " + host, "X-Case: @ID@"}, lines...), "\r\n") + "\r\n\r\n"
}

func get(target string, lines ...string) string { return request("GET", target, "app.test", lines...) }

// table makes cases of the same listener from pairs of name and bytes.
func table(to string, pairs ...string) []question {
	var out []question
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, question{name: pairs[i], to: to, send: pairs[i+1]})
	}
	return out
}

// paths are odd paths, under every way to normalise.
func paths() []question {
	odd := []string{"/", "/a/b", "/a/./b", "/a/../b", "/a/b/..", "/a/b/.", "/..", "/../..", "/../a", "/.", "/./", "/a//b", "//a", "//", "/a///b//", "/a//../b", "/a/%2e/b",
		"/a/%2e%2e/b", "/a/%2E%2E/b", "/a/.%2e/b", "/%2e%2e/%2e%2e/a", "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", `/a\b`, `/a\..\b`, `/\a`, `\a`, "/a%2f..%2fb", "/a/..%2fb", "/a%2f%2fb",
		"/%2f", "/a%00b", "/a%zzb", "/a%2", "/a%", "/a%%2fb", "/a%252fb", "/a%41b", "/a%7eb", "/a%20b", "/a%3fb", "/a%3Fb?x", "/a%23b", "/a;b", "/a;/../b", "/a/..;/b", "/a/.;/b",
		"/a?", "/a?x=/../y", "/a/../b?x=//y%2f", "/a?x?y", "/?", "/a#b", "/a?x#y", "/#", "/a%2e", "/a.%2e/", "/.../a", "/a/.../b", "/ä", "/a\x80b", "/%c3%a4", "/%C3%A4", "/a{b}", "/a|b", "/a\"b", "/a<b>", "/a^b`",
		"/a[b]", "/a'b(c)*!$&+,=:@", "/denied", "/DENIED", "/x/../denied", "/./denied", "//denied", "/%64enied", "/x/%2e%2e/denied", `/x\..\denied`, "/x%2f..%2fdenied", "/x/..%2fdenied", "/a/b/denied",
		"/a//b/denied", "/a%2fb/denied", "/a%2Fb%2Fdenied", "/a/b/denied?x", "/a/b/denied/", "/a/b/./denied", "/a/b/denied#x", "/a/b/denied%23", "/a%5cb/denied", `/a\b/denied`, "/a/b/denied%00", "/a/b/denied;x"}
	var out []question
	for _, mode := range []string{"edge", "raw", "merge", "merge-only", "decode", "reject", "redirect"} {
		for _, p := range odd {
			out = append(out, question{name: mode + " " + p, to: mode, send: get(p)})
		}
	}
	return out
}

// targets are request lines.
func targets() []question {
	line := func(l string) string { return l + "\r\nHost: app.test\r\nX-Case: @ID@\r\n\r\n" }
	lines := []string{"GET http://app.test/a HTTP/1.1", "GET http://APP.test/a HTTP/1.1", "GET http://app.test HTTP/1.1", "GET http://app.test?x HTTP/1.1", "GET https://app.test/a HTTP/1.1", "GET HTTP://app.test/a HTTP/1.1",
		"GET http://other.apps.test/a HTTP/1.1", "GET http://app.test:80/a HTTP/1.1", "GET http://app.test:8080/a HTTP/1.1", "GET http://user@app.test/a HTTP/1.1", "GET http://user:pw@app.test/a HTTP/1.1",
		"GET http:///a HTTP/1.1", "GET http:/a HTTP/1.1", "GET ftp://app.test/a HTTP/1.1", "GET ws://app.test/a HTTP/1.1", "GET http://app.test/a/../b HTTP/1.1", "GET http://app.test/a#b HTTP/1.1", "GET http://denied.test/a HTTP/1.1",
		"GET app.test/a HTTP/1.1", "GET app.test:80 HTTP/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1", "OPTIONS * HTTP/1.1", "OPTIONS / HTTP/1.1", "OPTIONS http://app.test HTTP/1.1", "GET ?x HTTP/1.1", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / a HTTP/1.1",
		"GET\t/\tHTTP/1.1", "GET /\tHTTP/1.1", "GET /a\tb HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/1.2", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/1", "GET / HTTP/11", "GET / http/1.1", "GET / HTTP/1.1x", "GET / XTTP/1.1", "GET /", "GET", "",
		"GET / HTTP/1.01", "GET / HTTP/01.1", "GET /\x00 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\r HTTP/1.1", "CONNECT app.test:80 HTTP/1.1", "CONNECT app.test HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT http://app.test/ HTTP/1.1",
		"GET //app.test/a HTTP/1.1", "GET http://app.test//a HTTP/1.1", `GET http://app.test\a HTTP/1.1`, "GET http://[::1]/a HTTP/1.1", "GET http://app.test:x/a HTTP/1.1", "GET http://app.test:/a HTTP/1.1", "GET http://app.test:99999/a HTTP/1.1"}
	var out []question
	for _, l := range lines {
		out = append(out, question{name: fmt.Sprintf("%q", l), send: line(l) + shutFor(l)})
	}
	for _, n := range []int{2000, 7000, 20_000, 50_000, 70_000} {
		out = append(out, question{name: fmt.Sprintf("a path of %d bytes", n), send: get("/" + strings.Repeat("a", n))})
	}
	pre := func(name, before string) { out = append(out, question{name: name, send: before + get("/")}) }
	pre("an empty line before it", "\r\n")
	pre("two empty lines before it", "\r\n\r\n")
	pre("a bare line feed before it", "\n")
	pre("a bare carriage return before it", "\r")
	pre("a space before it", " \r\n")
	pre("a NUL before it", "\x00")
	return out
}

// shutFor ends what a proxy might wait for for ever.
func shutFor(line string) string {
	if strings.HasPrefix(line, "CONNECT") {
		return shut
	}
	return ""
}

func methods() []question {
	var out []question
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "Get", "PROPFIND", "PURGE", "M-SEARCH", "QUERY", "PRI", "X", "FOO!", "F'O", "FO,O", "FO:O", "FO/O", "FOO\x01", "FÖO", "(GET)", "FORBIDDEN", "forbidden",
		strings.Repeat("M", 100), strings.Repeat("M", 5000)} {
		name := m
		if len(m) > 20 {
			name = fmt.Sprintf("of %d bytes", len(m))
		}
		out = append(out, question{name: name, send: request(m, "/m", "app.test")})
		out = append(out, question{name: name + " with a body", send: request(m, "/m", "app.test", "Content-Length: 3") + "abc"})
	}
	return out
}

// heads are odd header fields.
func heads() []question {
	long := func(n int) string { return strings.Repeat("v", n) }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "x-%d: %d\r\n", i, i)
		}
		return strings.TrimSuffix(b.String(), "\r\n")
	}
	odd := []string{"X-A: 1", "x-a: 1", "X-A:1", "X-A:   1   ", "X-A:\t1\t", "X-A: 1\r\nX-A: 2", "X-A: 1\r\nx-A: 2", "X-A:", "X-A: ", "X-A: \r\nX-A: 2", "X-A : 1", "X-A\t: 1", " X-A: 1", "X-A: 1\r\n 2", "X-A: 1\r\n\t2", "X-A: 1\r\n \r\nX-B: 2", ": 1", "X A: 1", "X-A 1", "X-A",
		"X(A): 1", "X-Ä: 1", "X@A: 1", "X[A]: 1", "X{A}: 1", "X\"A\": 1", "X,A: 1", "X;A: 1", "X/A: 1", "X=A: 1", "X?A: 1", `X\A: 1`, "X\x01A: 1", "X\x00A: 1", "X\x7fA: 1", "X_A: 1", "X.A: 1", "X~A|!#$%&'*+^`: 1", "1: 1", "_: 1", "-: 1", ":path: /x", ":authority: denied.test",
		"X-A: a\x00b", "X-A: a\x01b", "X-A: a\x7fb", "X-A: a\tb", "X-A: ä", "X-A: a\x80b", "X-A: a\xffb", "X-A: a\rb", "X-A: a\r", "X-A: a\nX-B: b", "X-A: a\n b", "X-A: \"quoted\"", "X-A: a,b", "X-A: a\x0bb", "X-A: a\x0cb", "X-A: a\x1bb",
		"Cookie: a=b\r\nCookie: c=d", "Cookie: a=b; c=d", "Set-Cookie: a=b\r\nSet-Cookie: c=d", "Accept: a\r\nAccept: b", "User-Agent: x", "User-Agent:", "Via: 1.1 x", "Date: x", "Server: x", "Range: bytes=0-1", "Expect: x", "Expect: 200-ok", "TE: trailers", "TE: gzip", "TE: trailers, gzip",
		"TE: trailers;q=0.5", "Trailer: x", "Max-Forwards: 0", "Proxy-Connection: keep-alive", "Proxy-Authorization: x", "Proxy-Authenticate: x", "Keep-Alive: timeout=5", "HTTP2-Settings: AAMAAABkAAQAAP__", "Upgrade: x", "Connection: x-a\r\nX-A: 1",
		"Connection: X-A, x-b\r\nX-A: 1\r\nx-b: 2", "Connection: close\r\nX-A: 1", "Connection: keep-alive", "Connection: Keep-Alive, X-A\r\nX-A: 1", "Connection: host", "Connection: content-length", "Connection: x-forwarded-for", "Connection: x-forwarded-for\r\nX-Forwarded-For: 1.2.3.4",
		"Connection: x-deny\r\nX-Deny: 1", "Connection: cookie\r\nCookie: a=b", "Connection: te\r\nTE: trailers", "Connection: upgrade", "Connection: ,", "Connection: ", "Connection: close, close", "Connection: close\r\nConnection: keep-alive", "Connection: a b", "Connection: transfer-encoding", "Connection: authorization\r\nAuthorization: x", "Connection: :path", "Connection: x-case-b",
		"X-Envoy-Attempt-Count: 9", "X-Envoy-Expected-Rq-Timeout-Ms: 1", "X-Envoy-Upstream-Rq-Timeout-Ms: 1", "X-Envoy-Retry-On: 5xx", "X-Envoy-Max-Retries: 9", "X-Envoy-Original-Path: /x", "X-Envoy-Internal: true", "X-Envoy-External-Address: 1.2.3.4", "X-Envoy-Decorator-Operation: x",
		"X-Envoy-Peer-Metadata: x", "X-Envoy-Fault-Abort-Request: 503", "X-Envoy-Upstream-Alt-Stat-Name: x", "X-Envoy-Downstream-Service-Cluster: x", "X-Envoy-Force-Trace: true", "X-Envoy-Hedge-On-Per-Try-Timeout: true", "X-Envoy-IP-Tags: x", "X-Envoy-Other: x", "X-Envoy-Degraded: x", "X-Envoy-Is-Timeout-Retry: x", "X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 1", "X-Envoy-Upstream-Stream-Duration-Ms: 1", "X-Envoy-Overloaded: x", "X-Envoy-Original-Host: x", "X-Envoy-Original-Method: x", "X-Envoy-Original-Url: x", "X-Envoy-Original-Dst-Host: 1.2.3.4:80", "X-Envoy-Max-Retries: 3\r\nX-Envoy-Retry-On: 5xx",
		"Authority: x", "Content-Type:", "Content-Type: a\r\nContent-Type: b", "Authorization: a\r\nAuthorization: b", "X-Forwarded-Client-Cert: By=x", "Grpc-Timeout: 1S", "X-Client-Trace-Id: x", "Traceparent: x", "Forwarded: for=x", "Early-Data: 1", "Priority: u=1", "Alt-Used: x", "X-Http-Method-Override: DELETE",
		"X-A: " + long(1000), "X-A: " + long(8000), "X-A: " + long(30_000), "X-A: " + long(58_000), "X-A: " + long(62_000), strings.Repeat("n", 300) + ": 1", strings.Repeat("n", 20_000) + ": 1", many(50), many(90), many(97), many(98), many(99), many(100), many(150), many(1000)}
	var out []question
	for _, to := range []string{"edge", "mesh"} {
		for _, l := range odd {
			name := fmt.Sprintf("%s %q", to, l)
			if len(l) > 200 {
				name = fmt.Sprintf("%s %q... of %d bytes", to, l[:20], len(l))
			}
			out = append(out, question{name: name, to: to, send: get("/h", l)})
		}
	}
	for _, n := range []int{10, 15, 16, 17, 18, 19, 20, 21} {
		out = append(out, question{name: fmt.Sprintf("few %d", n), to: "few", send: get("/h", many(n))})
	}
	raw := func(name, send string) { out = append(out, question{name: name, send: send}) }
	raw("lines that end in bare line feeds", "GET / HTTP/1.1\nHost: app.test\nX-Case: @ID@\n\n")
	raw("an end of bare line feed", "GET / HTTP/1.1\r\nHost: app.test\r\nX-Case: @ID@\r\n\n")
	raw("a request line that ends in a bare line feed", "GET / HTTP/1.1\nHost: app.test\r\nX-Case: @ID@\r\n\r\n")
	raw("lines that end in bare carriage returns", "GET / HTTP/1.1\rHost: app.test\rX-Case: @ID@\r\r"+shut)
	raw("a line that ends in CR CR LF", "GET / HTTP/1.1\r\nHost: app.test\r\nX-Case: @ID@\r\r\n\r\n")
	raw("a fold in the first line", "GET / HTTP/1.1\r\n X-Fold: 1\r\nHost: app.test\r\nX-Case: @ID@\r\n\r\n")
	raw("a head that is cut", "GET / HTTP/1.1\r\nHost: app.test\r\nX-Case: @ID@\r\n"+shut)
	raw("a request line that is cut", "GET / HT"+shut)
	raw("no request at all", shut)
	raw("TLS to a plain port", "\x16\x03\x01\x00\x05hello\r\n\r\n")
	raw("the PROXY protocol where none is expected", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"+get("/"))
	return out
}

func hosts() []question {
	odd := []string{"app.test", "APP.TEST", "App.Test", "app.test:80", "app.test:8080", "app.test:", "app.test:0", "app.test:99999", "app.test:x", "app.test.", "app.test.:80", ".app.test", "x.apps.test", "x.y.apps.test", "X.APPS.TEST:1", "apps.test", ".apps.test", "unknown.test", "", " ", "app.test app.test",
		"app.test, unknown.test", "app.test/x", "app.test?x", "app.test#x", "user@app.test", "http://app.test", "app_test", "[::1]", "[::1]:80", "::1", "1.2.3.4", "1.2.3.4:80", "app.test\x00", "app.test\t", "äpp.test", "%61pp.test", "app%2etest", "*", "*.test", "app.test:80:80", "-", "a..b", "app.test;x", `app\test`, "denied.test", "DENIED.TEST", "denied.test:80", "denied.test.",
		"app.test<", "app'test", "app\"test", "app.test|", "a!$&'()*+,;=b", "[app.test]", "[::1", "app.test:+80", "app.test: 80"}
	var out []question
	for _, h := range odd {
		out = append(out, question{name: fmt.Sprintf("%q", h), send: request("GET", "/star", h)})
	}
	raw := func(name, send string) { out = append(out, question{name: name, send: send}) }
	raw("none", "GET /star HTTP/1.1\r\nX-Case: @ID@\r\n\r\n")
	raw("none in HTTP/1.0", "GET /star HTTP/1.0\r\nX-Case: @ID@\r\n\r\n")
	raw("two of the same", "GET /star HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\nX-Case: @ID@\r\n\r\n")
	raw("two that differ", "GET /star HTTP/1.1\r\nHost: app.test\r\nHost: denied.test\r\nX-Case: @ID@\r\n\r\n")
	raw("two, one of them empty", "GET /star HTTP/1.1\r\nHost: app.test\r\nHost:\r\nX-Case: @ID@\r\n\r\n")
	raw("absolute and none", "GET http://app.test/star HTTP/1.1\r\nX-Case: @ID@\r\n\r\n")
	raw("absolute and another", "GET http://app.test/star HTTP/1.1\r\nHost: denied.test\r\nX-Case: @ID@\r\n\r\n")
	raw("absolute that is denied and another", "GET http://denied.test/star HTTP/1.1\r\nHost: app.test\r\nX-Case: @ID@\r\n\r\n")
	raw("absolute and an empty one", "GET http://app.test/star HTTP/1.1\r\nHost:\r\nX-Case: @ID@\r\n\r\n")
	raw("absolute and two", "GET http://app.test/star HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\nX-Case: @ID@\r\n\r\n")
	return out
}

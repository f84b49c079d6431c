package differential

import (
	"fmt"
	"strings"
)

// ask is a request over HTTP/2 with further fields, names and values in turn.
func ask(method, host, path string, fields ...string) *stream {
	s := &stream{head: [][2]string{{":method", method}, {":scheme", "http"}, {":authority", host}, {":path", path}, {"x-case", "@ID@"}}}
	for i := 0; i+1 < len(fields); i += 2 {
		s.head = append(s.head, [2]string{fields[i], fields[i+1]})
	}
	return s
}

// with returns a stream with a body, and trailers.
func (s *stream) with(tail [][2]string, body ...string) *stream {
	s.body, s.tail = body, tail
	return s
}

// bare is a request of exactly these fields, and the one that names the case.
func bare(fields ...string) *stream {
	s := &stream{}
	for i := 0; i+1 < len(fields); i += 2 {
		s.head = append(s.head, [2]string{fields[i], fields[i+1]})
	}
	s.head = append(s.head, [2]string{"x-case", "@ID@"})
	return s
}

// streams are odd requests over HTTP/2.
func streams() []question {
	var out []question
	add := func(name string, s *stream, replies ...reply) {
		out = append(out, question{name: name, stream: s, replies: replies})
	}
	const m, sc, a, p = ":method", ":scheme", ":authority", ":path"
	add("plain", ask("GET", "app.test", "/a?b"))
	add("in two frames", &stream{head: ask("GET", "app.test", "/").head, split: true})
	for _, host := range []string{"h2.test", "app.test"} {
		add("a body to "+host, ask("POST", host, "/").with(nil, "abc", "def"))
		add("a body with a length to "+host, ask("POST", host, "/", "content-length", "6").with(nil, "abc", "def"))
		add("a body longer than its length to "+host, ask("POST", host, "/", "content-length", "5").with(nil, "abc", "def"))
		add("a body shorter than its length to "+host, ask("POST", host, "/", "content-length", "7").with(nil, "abc", "def"))
		add("trailers to "+host, ask("POST", host, "/").with([][2]string{{"x-tail", "1"}}, "abc"))
		add("trailers without a body to "+host, ask("POST", host, "/").with([][2]string{{"x-tail", "1"}}))
		add("an empty body to "+host, ask("POST", host, "/").with(nil, ""))
		add("HEAD to "+host, ask("HEAD", host, "/"))
		add("a length without a body to "+host, ask("POST", host, "/", "content-length", "3"))
		add("a length of nothing to "+host, ask("POST", host, "/", "content-length", "0"))
		add("two equal lengths to "+host, ask("POST", host, "/", "content-length", "3", "content-length", "3").with(nil, "abc"))
		add("two lengths to "+host, ask("POST", host, "/", "content-length", "3", "content-length", "4").with(nil, "abc"))
		add("a length that is no number to "+host, ask("POST", host, "/", "content-length", "x").with(nil, "abc"))
		add("cookies to "+host, ask("GET", host, "/", "cookie", "a=b", "cookie", "c=d"))
		add("no answer that is one from "+host, ask("GET", host, "/"), says("junk\r\n\r\n").then(hangUp))
		add("trailers from "+host, ask("GET", host, "/"), says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Tail\r\n\r\n3\r\nabc\r\n0\r\nX-Tail: 1\r\n\r\n"))
		add("404 from "+host, ask("GET", host, "/"), status(404))
	}
	trailer := func(fields ...string) *stream {
		var tail [][2]string
		for i := 0; i < len(fields); i += 2 {
			tail = append(tail, [2]string{fields[i], fields[i+1]})
		}
		return ask("POST", "app.test", "/").with(tail, "abc")
	}
	add("a trailer in upper case", trailer("X-Tail", "1"))
	add("a pseudo trailer", trailer(":path", "/denied"))
	add("a trailer that frames", trailer("content-length", "9"))
	add("a trailer of the connection", trailer("connection", "close"))
	add("a trailer that encodes", trailer("transfer-encoding", "chunked"))
	add("a trailer that routes", trailer("host", "denied.test"))
	add("no method", bare(sc, "http", a, "app.test", p, "/"))
	add("no scheme", bare(m, "GET", a, "app.test", p, "/"))
	add("no path", bare(m, "GET", sc, "http", a, "app.test"))
	add("an empty path", bare(m, "GET", sc, "http", a, "app.test", p, ""))
	add("no authority", bare(m, "GET", sc, "http", p, "/"))
	add("no authority and a host", bare(m, "GET", sc, "http", p, "/", "host", "app.test"))
	add("an empty authority", bare(m, "GET", sc, "http", a, "", p, "/"))
	add("an empty authority and a host", bare(m, "GET", sc, "http", a, "", p, "/", "host", "app.test"))
	add("an authority and the same host", bare(m, "GET", sc, "http", a, "app.test", p, "/", "host", "app.test"))
	add("an authority and another host", bare(m, "GET", sc, "http", a, "app.test", p, "/star", "host", "denied.test"))
	add("an authority that is denied and another host", bare(m, "GET", sc, "http", a, "denied.test", p, "/star", "host", "app.test"))
	add("two hosts", bare(m, "GET", sc, "http", p, "/star", "host", "app.test", "host", "denied.test"))
	add("two methods", bare(m, "GET", m, "POST", sc, "http", a, "app.test", p, "/"))
	add("two paths", bare(m, "GET", sc, "http", a, "app.test", p, "/", p, "/denied"))
	add("two authorities", bare(m, "GET", sc, "http", a, "app.test", a, "denied.test", p, "/"))
	add("two schemes", bare(m, "GET", sc, "http", sc, "https", a, "app.test", p, "/"))
	add("a status", bare(m, "GET", sc, "http", a, "app.test", p, "/", ":status", "200"))
	add("an unknown pseudo field", bare(m, "GET", sc, "http", a, "app.test", p, "/", ":x", "1"))
	add("a protocol without CONNECT", bare(m, "GET", sc, "http", a, "app.test", p, "/", ":protocol", "websocket"))
	add("a pseudo field after others", bare(m, "GET", sc, "http", "x-a", "1", a, "app.test", p, "/"))
	for _, s := range []string{"https", "HTTP", "ftp", "", "h t", "http://"} {
		add(fmt.Sprintf("the scheme %q", s), bare(m, "GET", sc, s, a, "app.test", p, "/"))
		out = append(out, question{name: fmt.Sprintf("the scheme %q in the mesh", s), to: "mesh", stream: bare(m, "GET", sc, s, a, "app.test", p, "/")})
	}
	for _, path := range []string{"a", "*", "//", "/a b", "/a\tb", "/a\r\nb", "/a\x00b", "/a#b", "/a?b#c", "http://app.test/", "app.test/", "/\x7f", "/ä", "?x", "/x/../denied", `\denied`, "/%2e%2e/denied", "/a HTTP/1.1\r\nHost: denied.test\r\n\r\n"} {
		add(fmt.Sprintf("the path %q", path), bare(m, "GET", sc, "http", a, "app.test", p, path))
	}
	add("OPTIONS *", bare(m, "OPTIONS", sc, "http", a, "app.test", p, "*"))
	for _, method := range []string{"get", "G T", "GET\r\n", "", "GE\x00T", "FOO", "FO:O", "PRI", "FORBIDDEN", "GET / HTTP/1.1\r\nHost: denied.test\r\n\r\nGET", "TRACE"} {
		add(fmt.Sprintf("the method %q", method), bare(m, method, sc, "http", a, "app.test", p, "/"))
	}
	for _, authority := range []string{"APP.test", "app.test:8080", "app.test.", "user@app.test", "app.test/x", "app.test\r\n", "app test", "denied.test", "DENIED.test", "app.test, x", "app.test\x00", "äpp.test", "app.test#", "app.test?"} {
		add(fmt.Sprintf("the authority %q", authority), bare(m, "GET", sc, "http", a, authority, p, "/star"))
	}
	for _, f := range [][2]string{{"X-A", "1"}, {"x a", "1"}, {"x-a", "a\r\nx-b: 1"}, {"x-a", "a\x00"}, {"x-a", "a\nb"}, {"x-a", " a "}, {"x-a", "a\tb"}, {"x-a", "\x01"}, {"x-a", "\x7f"}, {"x-a", "\xff"}, {"x-a", ""}, {"", "1"}, {"x:a", "1"}, {"x-ä", "1"}, {"x_a", "1"}, {"x(a)", "1"}, {"x-a:", "1"},
		{"connection", "close"}, {"connection", "x-a"}, {"keep-alive", "1"}, {"proxy-connection", "close"}, {"transfer-encoding", "chunked"}, {"transfer-encoding", "identity"}, {"upgrade", "websocket"}, {"te", "trailers"}, {"te", "gzip"}, {"te", "trailers, gzip"}, {"http2-settings", "x"}, {"expect", "100-continue"},
		{"x-envoy-internal", "true"}, {"x-forwarded-proto", "https"}, {"x-deny", "1"}, {"x-a", strings.Repeat("a", 20_000)}, {"x-a", strings.Repeat("a", 59_000)}, {"x-a", strings.Repeat("a", 70_000)}, {strings.Repeat("n", 5000), "1"}} {
		name := fmt.Sprintf("the field %q: %q", f[0], f[1])
		if len(name) > 200 {
			name = fmt.Sprintf("a field of %d and %d bytes", len(f[0]), len(f[1]))
		}
		add(name, ask("GET", "app.test", "/", f[0], f[1]))
	}
	for _, n := range []int{50, 90, 94, 95, 96, 97, 100, 150} {
		s := ask("GET", "app.test", "/")
		for i := range n {
			s.head = append(s.head, [2]string{fmt.Sprintf("x-%d", i), "1"})
		}
		add(fmt.Sprintf("%d fields more", n), s)
	}
	add("CONNECT", bare(m, "CONNECT", a, "app.test:80"))
	add("CONNECT with a path", bare(m, "CONNECT", sc, "http", a, "app.test:80", p, "/"))
	add("CONNECT for an unknown protocol", bare(m, "CONNECT", ":protocol", "other", sc, "http", a, "app.test", p, "/"))
	add("an unknown host", ask("GET", "unknown.test", "/"))
	add("a dead upstream", ask("GET", "dead.test", "/"))
	add("no endpoint", ask("GET", "nobody.test", "/"))
	add("an upstream that resets", ask("GET", "odd.test", "/"), says("").then(abandon))
	add("an upstream that resets in the middle", ask("GET", "h2.test", "/"), says("HTTP/1.1 200 OK\r\n\r\nabc").then(abandon))
	return out
}

// calls are gRPC.
func calls() []question {
	const frame = "\x00\x00\x00\x00\x03abc"
	call := func(path string, more ...string) *stream {
		return ask("POST", "grpc.test", path, append([]string{"te", "trailers", "content-type", "application/grpc"}, more...)...).with(nil, frame)
	}
	answer := func(code string) reply {
		return says("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Status\r\n\r\n8\r\n" + frame + "\r\n0\r\nGrpc-Status: " + code + "\r\nGrpc-Message: m\r\n\r\n")
	}
	only := func(code string) reply {
		return says("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: " + code + "\r\nGrpc-Message: a%20b\r\nContent-Length: 0\r\n\r\n")
	}
	var out []question
	add := func(name string, s *stream, replies ...reply) {
		out = append(out, question{name: name, stream: s, replies: replies})
	}
	for _, code := range []string{"0", "1", "4", "5", "8", "13", "14", "16", "99", "x"} {
		add("trailers "+code, call("/shop"), answer(code))
		add("trailers only "+code, call("/shop"), only(code))
		add("retry trailers "+code, call("/retry"), answer(code), answer("0"))
		add("retry trailers only "+code, call("/retry"), only(code), answer("0"))
	}
	add("no status", call("/shop"), says("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n"))
	for _, code := range []int{400, 401, 403, 404, 429, 500, 502, 503, 504} {
		add(fmt.Sprintf("HTTP status %d", code), call("/shop"), status(code))
	}
	for _, path := range []string{"/dead", "/nobody", "/direct", "/redirect", "/abort", "/none", "/only", "/denied", "/h1"} {
		add("proxy "+path, call(path))
		out = append(out, question{name: "proxy " + path + " over HTTP/1.1", send: request("POST", path, "grpc.test", "Content-Type: application/grpc", fmt.Sprintf("Content-Length: %d", len(frame))) + frame})
	}
	add("reset", call("/shop"), says("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n\r\nabc").then(abandon))
	add("reset at once", call("/shop"), says("junk"))
	add("too slow", call("/short"), silence)
	for _, timeout := range []string{"50m", "1S", "100000u", "1H", "x", "0S", "999999999S", ""} {
		replies := []reply{answer("0")}
		if timeout == "50m" || timeout == "100000u" {
			replies = []reply{silence}
		}
		add("limit "+timeout, call("/limit", "grpc-timeout", timeout), replies...)
	}
	add("limit of the route", call("/limit", "grpc-timeout", "9S"), silence)
	add("limit of what is no call", ask("POST", "grpc.test", "/limit", "content-type", "text/plain", "grpc-timeout", "50m"), silence)
	add("limit of the stream", call("/lasting"), answer("0"))
	add("limit in its place", call("/lasting", "grpc-timeout", "9S"), answer("0"))
	add("limit in its place, short", call("/lasting", "grpc-timeout", "50m"), silence)
	for _, kind := range []string{"text/plain", "application/grpc"} {
		out = append(out, question{name: "limit inside the request, " + kind, replies: []reply{silence}, send: request("POST", "/limit", "grpc.test", "Content-Type: "+kind, "Grpc-Timeout: 300m", "Content-Length: 9") + "abc"})
	}
	for _, path := range []string{"/most", "/any", "/try"} {
		for _, timeout := range []string{"", "50m", "1S", "1H", "x", "0S"} {
			s, replies := call(path, "grpc-timeout", timeout), []reply{answer("0")}
			if timeout == "" {
				s = call(path)
			}
			if timeout == "50m" {
				replies = []reply{silence}
			}
			add(fmt.Sprintf("most %s %s", path, timeout), s, replies...)
		}
	}
	add("most of calls that are longer", call("/most", "grpc-timeout", "9S"), silence)
	add("most of what is no call", ask("POST", "grpc.test", "/most", "content-type", "text/plain", "grpc-timeout", "50m"), silence)
	for _, kind := range []string{"application/grpc+proto", "application/grpc;x", "application/grpcx", "APPLICATION/GRPC", "application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text", "application/json", ""} {
		s := ask("POST", "grpc.test", "/only", "te", "trailers", "content-type", kind).with(nil, frame)
		add("content type "+kind, s, answer("0"))
		out = append(out, question{name: "content type " + kind + " unknown path", stream: ask("POST", "grpc.test", "/none", "content-type", kind).with(nil, frame)})
		out = append(out, question{name: "content type " + kind + " over HTTP/1.1", replies: []reply{answer("5")}, send: request("POST", "/shop", "grpc.test", "Content-Type: "+kind, fmt.Sprintf("Content-Length: %d", len(frame))) + frame})
	}
	return out
}

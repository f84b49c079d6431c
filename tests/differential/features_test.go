package differential

import (
	"fmt"
	"strings"
)

// each asks a host for paths.
func each(host string, targets ...string) []question {
	var out []question
	for _, t := range targets {
		out = append(out, question{name: t, send: request("GET", t, host)})
	}
	return out
}

func redirects() []question {
	out := each("redirect.test", "/path", "/path?a=1", "/path/x?a=1", "/query", "/query?a=1", "/prefix", "/prefix/x", "/prefix/x?a=1", "/prefixed", "/host", "/host/x?a=1", "/port", "/port/x?a=1", "/scheme/x?a=1", "/https", "/https/x?a=1", "/all/y?a=1", "/strip?a=1", "/302", "/303", "/307", "/308", "/added?x", "/none",
		"/host?", "/prefix/../path", "/prefix//x", "/https/%2e%2e/x")
	for _, host := range []string{"redirect.test:80", "redirect.test:443", "redirect.test:8080", "REDIRECT.test"} {
		for _, t := range []string{"/path", "/host/x", "/port/x", "/scheme/x", "/https/x", "/all"} {
			out = append(out, question{name: t + " at " + host, send: request("GET", t, host)})
		}
	}
	for _, m := range []string{"HEAD", "POST"} {
		out = append(out, question{name: "by " + m, send: request(m, "/path", "redirect.test")})
	}
	out = append(out, question{name: "with a body", send: request("POST", "/path", "redirect.test", "Content-Length: 3") + "abc"}, question{name: "over HTTP/2", stream: ask("GET", "redirect.test", "/https/x?a=1")},
		question{name: "in HTTP/1.0", send: strings.Replace(request("GET", "/path", "redirect.test"), "HTTP/1.1", "HTTP/1.0", 1)},
		question{name: "said to be https", to: "mesh", send: request("GET", "/host", "redirect.test", "X-Forwarded-Proto: https")}, question{name: "said to be https, by anybody", send: request("GET", "/host", "redirect.test", "X-Forwarded-Proto: https")},
		question{name: "said to be https, by a hop", to: "hops", send: request("GET", "/host", "redirect.test", "X-Forwarded-Proto: https")})
	for _, host := range []string{"secure.test", "secure.test:80", "secure.test:8080", "SECURE.test"} {
		out = append(out, question{name: "to TLS at " + host, send: request("GET", "/a?b", host)})
	}
	for _, to := range []string{"edge", "mesh", "hops"} {
		out = append(out, question{name: "to TLS, said to be https, at " + to, to: to, send: request("GET", "/a?b", "secure.test", "X-Forwarded-Proto: https")})
	}
	return append(out, question{name: "to TLS over TLS", to: "SANITIZE", send: request("GET", "/a?b", "secure.test")}, question{name: "to TLS by POST", send: request("POST", "/a", "secure.test", "Content-Length: 3") + "abc"}, question{name: "to TLS over HTTP/2", stream: ask("GET", "secure.test", "/a")})
}

func rewrites() []question {
	out := each("rewrite.test", "/prefix/", "/prefix/a", "/prefix//a", "/prefix/a?b=c", "/prefix", "/longer", "/longer/x?y", "/longerx", "/exact", "/exact?x", "/exact/", "/separated", "/separated/", "/separated/x?y", "/separatedx", "/regex/a/b", "/regex/a/b?c=/regex/d/e", "/regex/a", "/regex/a/", "/every/e?e", "/host", "/host/x", "/case/x", "/CaSe",
		"/prefix/../x", "/prefix/%2e%2e/x", "/prefix/./", "/prefix/?x", "/api", "/api?x=1", "/api/a")
	for _, to := range []string{"internal", "mesh"} {
		out = append(out, question{name: "with an original path, at " + to, to: to, send: request("GET", "/longer", "rewrite.test", "X-Envoy-Original-Path: /y")},
			question{name: "with an original host, at " + to, to: to, send: request("GET", "/host", "rewrite.test", "X-Envoy-Original-Host: y", "X-Forwarded-Host: z")})
	}
	return append(out, question{name: "over HTTP/2", stream: ask("GET", "rewrite.test", "/regex/a/b?c")}, question{name: "of a host with a port", send: request("GET", "/host", "rewrite.test:8080")})
}

func directs() []question {
	out := each("direct.test", "/text", "/empty", "/204", "/304", "/404", "/503", "/typed", "/200-with-heads?x", "/none")
	for _, t := range []string{"/text", "/empty", "/404", "/204"} {
		out = append(out, question{name: t + " to HEAD", send: request("HEAD", t, "direct.test")}, question{name: t + " to POST", send: request("POST", t, "direct.test", "Content-Length: 3") + "abc"},
			question{name: t + " in HTTP/1.0", send: strings.Replace(request("GET", t, "direct.test"), "HTTP/1.1", "HTTP/1.0", 1)}, question{name: t + " over HTTP/2", stream: ask("GET", "direct.test", t)},
			question{name: t + " to gRPC", send: request("POST", t, "direct.test", "Content-Type: application/grpc", "Content-Length: 0")})
	}
	return out
}

func corses() []question {
	var out []question
	for _, t := range []string{"/", "/foreign", "/any", "/none", "/moved", "/direct"} {
		for _, origin := range []string{"", "https://a.test", "https://A.test", "https://pre.x", "https://r12.test", "https://r.test", "https://b.test", "null", "https://a.test.evil", "https://a.test, https://b.test"} {
			lines := []string{"X-Any: 1"}
			if origin != "" {
				lines = append(lines, "Origin: "+origin)
			}
			name := t + " from " + origin
			out = append(out, question{name: name, send: request("GET", t, "cors.test", lines...)},
				question{name: name + ", asked before for headers", send: request("OPTIONS", t, "cors.test", append(lines, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization, x-a")...)},
				question{name: name + ", asked before", send: request("OPTIONS", t, "cors.test", append(lines, "Access-Control-Request-Method: PUT")...)})
		}
	}
	own := says("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: x\r\nAccess-Control-Allow-Credentials: false\r\nAccess-Control-Expose-Headers: y\r\nContent-Length: 2\r\n\r\nok")
	return append(out, question{name: "OPTIONS that does not ask", send: request("OPTIONS", "/", "cors.test", "Origin: https://a.test")}, question{name: "an empty method", send: request("OPTIONS", "/", "cors.test", "Origin: https://a.test", "Access-Control-Request-Method:")},
		question{name: "headers asked for", send: request("OPTIONS", "/", "cors.test", "Origin: https://a.test", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-y")},
		question{name: "two origins", send: request("GET", "/", "cors.test", "Origin: https://a.test", "Origin: https://b.test")}, question{name: "an empty origin", send: request("GET", "/", "cors.test", "Origin:")},
		question{name: "the application's own", send: request("GET", "/", "cors.test", "Origin: https://a.test"), replies: []reply{own}}, question{name: "the application's own, for others", send: request("GET", "/", "cors.test", "Origin: https://b.test"), replies: []reply{own}},
		question{name: "with private network access", send: request("OPTIONS", "/", "cors.test", "Origin: https://a.test", "Access-Control-Request-Method: PUT", "Access-Control-Request-Private-Network: true")},
		question{name: "over HTTP/2", stream: ask("OPTIONS", "cors.test", "/", "origin", "https://a.test", "access-control-request-method", "PUT")})
}

func faults() []question {
	out := each("fault.test", "/abort", "/grpc", "/delay", "/both", "/never", "/none")
	for _, t := range []string{"/abort", "/grpc"} {
		out = append(out, question{name: t + " to gRPC", send: request("POST", t, "fault.test", "Content-Type: application/grpc", "Content-Length: 0")}, question{name: t + " to HEAD", send: request("HEAD", t, "fault.test")},
			question{name: t + " over HTTP/2", stream: ask("GET", "fault.test", t)}, question{name: t + " to gRPC over HTTP/2", stream: ask("POST", "fault.test", t, "content-type", "application/grpc", "te", "trailers")},
			question{name: t + " with a body", send: request("POST", t, "fault.test", "Content-Length: 3") + "abc"})
	}
	return append(out, asked()...)
}

// asked are requests that say themselves what is to befall them.
func asked() []question {
	const abort, grpc, delay = "X-Envoy-Fault-Abort-Request: ", "X-Envoy-Fault-Abort-Grpc-Request: ", "X-Envoy-Fault-Delay-Request: "
	const abortShare, delayShare = "\r\nX-Envoy-Fault-Abort-Request-Percentage: ", "\r\nX-Envoy-Fault-Delay-Request-Percentage: "
	var out []question
	for _, lines := range []string{"X-A: 1", abort + "503", abort + "418", abort + "200", abort + "199", abort + "99", abort + "598", abort + "600", abort + "5x", abort, abort + "503\r\n" + abort + "418",
		abort + "503" + abortShare + "0", abort + "503" + abortShare + "100", abort + "503" + abortShare + "1000", abort + "503" + abortShare + "x", grpc + "14", grpc + "0", grpc + "16", grpc + "17", grpc + "x", abort + "503\r\n" + grpc + "14",
		delay + "20", delay + "0", delay + "-5", delay + "x", delay + "20" + delayShare + "0", delay + "20\r\n" + abort + "503", delay + "20" + delayShare + "0\r\n" + abort + "503"} {
		for _, to := range []string{"edge", "mesh"} {
			out = append(out, question{name: fmt.Sprintf("asked for %q at %s", lines, to), to: to, send: request("GET", "/asked", "fault.test", lines)})
		}
		out = append(out, question{name: fmt.Sprintf("asked for %q by gRPC", lines), to: "mesh", send: request("POST", "/asked", "fault.test", lines, "Content-Type: application/grpc", "Content-Length: 0")})
	}
	for _, lines := range []string{abort + "503", abort + "503" + abortShare + "100"} {
		out = append(out, question{name: fmt.Sprintf("asked for %q in no case", lines), to: "mesh", send: request("GET", "/capped", "fault.test", lines)}, question{name: fmt.Sprintf("asked for %q where nothing is to be had", lines), to: "mesh", send: request("GET", "/none", "fault.test", lines)})
	}
	return append(out, question{name: "asked over HTTP/2", to: "mesh", stream: ask("GET", "fault.test", "/asked", "x-envoy-fault-abort-request", "503")},
		question{name: "asked by gRPC over HTTP/2", to: "mesh", stream: ask("POST", "fault.test", "/asked", "content-type", "application/grpc", "te", "trailers", "x-envoy-fault-abort-grpc-request", "14")})
}

func operations() []question {
	var out []question
	answer := says("HTTP/1.1 200 OK\r\nX-B: one\r\nX-Secret: 1\r\nContent-Length: 2\r\n\r\nok")
	for _, t := range []string{"/append", "/overwrite", "/absent", "/replace", "/remove", "/both", "/formats?x=%41", "/weighted"} {
		for _, lines := range []string{"X-B: 1", "X-A: one", "X-A: one\r\nX-A: uno", "X-A:", "X-Upper: 1\r\nUser-Agent: x\r\nX-Host-Level: 0"} {
			for _, to := range []string{"edge", "mesh"} {
				out = append(out, question{name: fmt.Sprintf("%s %q at %s", t, lines, to), to: to, send: request("GET", t, "heads.test", lines), replies: []reply{answer}})
			}
		}
		out = append(out, question{name: t + " over HTTP/2", stream: ask("GET", "heads.test", t, "x-a", "one"), replies: []reply{answer}}, question{name: t + " where the answer has nothing", send: request("GET", t, "heads.test", "X-A: one")},
			question{name: t + " with a body", send: request("POST", t, "heads.test:8080", "X-A: \"q\", \\", "Content-Length: 3") + "abc", replies: []reply{status(404)}})
	}
	return out
}

func matches() []question {
	out := each("match.test", "/exact", "/exact/", "/exact?x", "/Exact", "/insensitive", "/INSENSITIVE", "/r1", "/r1/", "/r1?x", "/xr1", "/seg", "/seg/", "/seg/x", "/segx", "/seg?x", "/invert", "/empty", "/absent", "/query?a=1", "/query?a=2", "/query?A=1", "/query?a=1&a=2", "/query?a=2&a=1", "/query?b", "/query?b=", "/query?b=1",
		"/query?c=12", "/query?c=12x", "/query?x=1&c=5", "/query?%61=1", "/query?a=%31", "/query?a=1;b=2", "/query?a+b=1", "/query?&&a=1", "/query?a=1#f", "/query?=1", "/query?a==1", "/none")
	for _, lines := range []string{"X-Exact: a", "X-Exact: A", "X-Exact: a \r\nX-Other: 1", "X-Exact: a\r\nX-Exact: a", "X-Exact: a\r\nX-Exact: b", "x-exact: b\r\nX-Exact: a", "X-Exact: a,a", "X-Prefix: abc", "X-Prefix: bac", "X-Prefix: b\r\nX-Prefix: a", "X-Regex: aaa", "X-Regex: aab", "X-Regex:", "X-Present:", "X-Present: 1", "X-Case: nonesuch",
		"Cookie: user=ben", "Cookie: a=b; user=ben", "Cookie: user=benjamin", "Cookie: a=b\r\nCookie: user=ben", "Cookie: xuser=ben"} {
		out = append(out, question{name: fmt.Sprintf("%q", lines), send: request("GET", "/other", "match.test", lines)})
	}
	for _, lines := range []string{"Connection: Upgrade\r\nUpgrade: websocket", "Connection: close", "TE: trailers", "TE: gzip, trailers", "TE: gzip", "TE: trailers\r\nTE: trailers"} {
		out = append(out, question{name: fmt.Sprintf("of the connection, %q", lines), send: request("GET", "/upgrade", "match.test", lines)},
			question{name: fmt.Sprintf("of te, %q", lines), send: request("GET", "/te", "match.test", lines)})
	}
	out = append(out, question{name: "te over HTTP/2", stream: ask("GET", "match.test", "/te", "te", "trailers")})
	for _, path := range []string{"/as-present", "/as-absent"} {
		out = append(out, question{name: path, send: request("GET", path, "match.test")}, question{name: path + ", there", send: request("GET", path, "match.test", "X-P: 1")})
	}
	for _, lines := range []string{"X-Invert: a", "X-Invert: b", "X-Invert:"} {
		out = append(out, question{name: fmt.Sprintf("inverted, %q", lines), send: request("GET", "/invert", "match.test", lines)})
	}
	for _, lines := range []string{"X-Empty:", "X-Empty: a"} {
		out = append(out, question{name: fmt.Sprintf("empty, %q", lines), send: request("GET", "/empty", "match.test", lines)})
	}
	for _, lines := range []string{"X-Absent:", "X-Absent: a"} {
		out = append(out, question{name: fmt.Sprintf("absent, %q", lines), send: request("GET", "/absent", "match.test", lines)})
	}
	return append(out, question{name: "PUT", send: request("PUT", "/other", "match.test")}, question{name: "a port", send: request("GET", "/other", "match.test:8080")}, question{name: "a port over HTTP/2", stream: ask("GET", "match.test:8080", "/other")},
		question{name: "two cookies over HTTP/2", stream: ask("GET", "match.test", "/other", "cookie", "a=b", "cookie", "user=ben")})
}

func shadows() []question {
	return []question{{name: "GET", send: request("GET", "/a?b", "shadow.test", "X-A: 1"), reach: 2}, {name: "POST", send: request("POST", "/a", "shadow.test", "Content-Length: 3") + "abc", reach: 2},
		{name: "chunks", send: request("POST", "/a", "shadow.test", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\nX-Tail: 1\r\n\r\n", reach: 2}, {name: "HEAD", send: request("HEAD", "/a", "shadow.test"), reach: 2},
		{name: "over HTTP/2", stream: ask("GET", "shadow.test", "/a"), reach: 2}, {name: "a port", send: request("GET", "/a", "shadow.test:8080"), reach: 2}, {name: "an answer that fails", send: request("GET", "/a", "shadow.test"), replies: []reply{status(503)}, reach: 2}}
}

// policies are requests that a policy denies, in disguise.
func policies() []question {
	var out []question
	add := func(name, send string) { out = append(out, question{name: name, send: send}) }
	add("a path", get("/denied"))
	add("a path with a query", get("/denied?x"))
	add("a path below", get("/denied/x"))
	add("a path to gRPC", request("POST", "/denied", "app.test", "Content-Type: application/grpc", "Content-Length: 0"))
	add("a path to HEAD", request("HEAD", "/denied", "app.test"))
	add("a path of an unknown host", request("GET", "/denied", "unknown.test"))
	add("a field", get("/", "X-Deny: 1"))
	add("an empty field", get("/", "X-Deny:"))
	add("a field in upper case", get("/", "X-DENY: 1"))
	add("a field with an underscore", get("/", "X_Deny: 1"))
	add("a method", request("FORBIDDEN", "/", "app.test"))
	add("a method in lower case", request("forbidden", "/", "app.test"))
	add("a host", request("GET", "/star", "denied.test"))
	add("a host in upper case", request("GET", "/star", "DENIED.test"))
	add("a host with a port", request("GET", "/star", "denied.test:80"))
	add("a host with a dot", request("GET", "/star", "denied.test."))
	out = append(out, question{name: "a path over HTTP/2", stream: ask("GET", "app.test", "/denied")}, question{name: "a path to gRPC over HTTP/2", stream: ask("POST", "app.test", "/denied", "content-type", "application/grpc", "te", "trailers")},
		question{name: "a host over HTTP/2", stream: ask("GET", "DENIED.test", "/star")}, question{name: "a disguised path over HTTP/2", stream: ask("GET", "app.test", "/x/../denied")})
	return out
}

// forwarded is what is said of the client's address and protocol.
func forwarded() []question {
	var out []question
	for _, to := range []string{"edge", "mesh", "hops", "internal"} {
		for _, lines := range []string{"X-A: 1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 1.2.3.4, 5.6.7.8", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: junk", "X-Forwarded-For:", "X-Forwarded-For: 1.2.3.4,", "X-Forwarded-For: ,1.2.3.4", "X-Forwarded-For: [2001:db8::1]", "X-Forwarded-For: 2001:db8::1", "X-Forwarded-For: 1.2.3.4:80", "X-Forwarded-For: 1.2.3.4 , 5.6.7.8 ",
			"X-Forwarded-Proto: https", "X-Forwarded-Proto: HTTPS", "X-Forwarded-Proto: ftp", "X-Forwarded-Proto:", "X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https", "X-Forwarded-Proto: https, http", "X-Forwarded-Host: x", "X-Forwarded-Port: 99", "X-Forwarded-Prefix: /x", "X-Real-Ip: 1.2.3.4", "X-Envoy-External-Address: 1.2.3.4", "X-Envoy-Internal: true", "X-Envoy-Internal: false", "X-Scheme: x",
			"X-Forwarded-For: 1.2.3.4\r\nX-Envoy-Retry-On: 5xx", "X-Envoy-Retry-On: 5xx\r\nX-Envoy-Decorator-Operation: x", "Forwarded: for=1.2.3.4"} {
			out = append(out, question{name: fmt.Sprintf("%s %q", to, lines), to: to, send: get("/", lines)})
		}
		out = append(out, question{name: to + " as the application sees it", to: to, send: request("GET", "/formats", "heads.test", "X-Forwarded-For: 1.2.3.4, 5.6.7.8")}, question{name: to + " over HTTP/2", to: to, stream: ask("GET", "app.test", "/", "x-forwarded-for", "1.2.3.4")})
	}
	return out
}

// schemes are what clients, and proxies before ours, say of the protocol, in plaintext and over TLS.
func schemes() []question {
	var out []question
	for _, to := range []string{"edge", "mesh", "hops", "SANITIZE"} {
		for _, said := range []string{"http", "https", "HTTPS", "ftp", "none"} {
			var lines []string
			if said != "none" {
				lines = []string{"X-Forwarded-Proto: " + said}
			}
			out = append(out, question{name: "forwarded " + said + " at " + to, to: to, send: request("GET", "/", "scheme.test", lines...)})
			if said == "none" {
				continue
			}
			for _, path := range []string{"/", "/redirect"} {
				s := ask("GET", "scheme.test", path)
				s.head[1][1] = said
				out = append(out, question{name: path + " by " + said + " at " + to, to: to, alpn: "h2", stream: s})
			}
			s := ask("GET", "scheme.test", "/", "x-forwarded-proto", said)
			out = append(out, question{name: "by http, forwarded " + said + " at " + to, to: to, alpn: "h2", stream: s})
		}
	}
	return out
}

func requestIDs() []question {
	var out []question
	for _, to := range []string{"edge", "mesh", "hops", "internal"} {
		for _, lines := range []string{"X-A: 1", "X-Request-Id: mine", "X-Request-Id:", "X-Request-Id: a\r\nX-Request-Id: b", "X-Request-Id: 11111111-1111-4111-8111-111111111111", "X-Request-Id: 11111111-1111-9111-8111-111111111111", "X-Request-Id: 11111111-1111-4111-8111-111111111111\r\nX-Client-Trace-Id: x"} {
			out = append(out, question{name: fmt.Sprintf("%s %q", to, lines), to: to, send: get("/", lines)})
		}
	}
	return out
}

// certificates are clients with one, and what they say of it.
func certificates() []question {
	var out []question
	for _, to := range []string{"SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY", "WITHOUT_URI", "edge", "mesh", "hops"} {
		for _, lines := range []string{"X-A: 1", "X-Forwarded-Client-Cert: By=x;Hash=y", "X-Forwarded-Client-Cert: By=x\r\nX-Forwarded-Client-Cert: By=y", "X-Forwarded-Client-Cert:", "Connection: x-forwarded-client-cert\r\nX-Forwarded-Client-Cert: By=x"} {
			out = append(out, question{name: fmt.Sprintf("%s %q", to, lines), to: to, send: get("/", lines)})
		}
		if strings.ToUpper(to) == to {
			out = append(out, question{name: to + " over HTTP/2", to: to, alpn: "h2", stream: ask("GET", "app.test", "/", "x-forwarded-client-cert", "By=x")})
		}
	}
	return out
}

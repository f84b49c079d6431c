package differential

import (
	"fmt"
	"strings"
)

// responses are odd answers of the upstream.
func responses() []question {
	head := func(lines ...string) string { return "HTTP/1.1 200 OK\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" }
	const chunked = "Transfer-Encoding: chunked"
	end := func(raw string) reply { return says(raw).then(hangUp) }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "x-%d: %d\r\n", i, i)
		}
		return b.String()
	}
	odd := []struct {
		name string
		reply
	}{
		{"a length", fine}, {"no length", end("HTTP/1.1 200 OK\r\n\r\nall")}, {"no length and reset", says("HTTP/1.1 200 OK\r\n\r\nall").then(abandon)},
		{"chunks", says(head(chunked) + "3\r\nabc\r\n0\r\n\r\n")}, {"chunks in upper case", says(head("Transfer-Encoding: CHUNKED") + "3\r\nabc\r\n0\r\n\r\n")}, {"chunks with a trailer", says(head(chunked) + "3\r\nabc\r\n0\r\nX-Tail: 1\r\n\r\n")},
		{"chunks with an announced trailer", says(head(chunked, "Trailer: X-Tail") + "3\r\nabc\r\n0\r\nX-Tail: 1\r\n\r\n")}, {"chunks with an extension", says(head(chunked) + "3;a=b\r\nabc\r\n0\r\n\r\n")},
		{"chunks that are bad", end(head(chunked) + "x\r\nabc\r\n0\r\n\r\n")}, {"chunks that are cut", end(head(chunked) + "3\r\nab")}, {"chunks without an end", end(head(chunked) + "3\r\nabc\r\n")},
		{"chunks with bare line feeds", end(head(chunked) + "3\nabc\n0\n\n")}, {"chunks and a length", end(head(chunked, "Content-Length: 3") + "3\r\nabc\r\n0\r\n\r\n")}, {"a length and chunks", end(head("Content-Length: 3", chunked) + "3\r\nabc\r\n0\r\n\r\n")},
		{"chunks twice", end(head(chunked, chunked) + "3\r\nabc\r\n0\r\n\r\n")}, {"gzip and chunks", end(head("Transfer-Encoding: gzip, chunked") + "3\r\nabc\r\n0\r\n\r\n")}, {"identity", end(head("Transfer-Encoding: identity") + "abc")}, {"an unknown encoding", end(head("Transfer-Encoding: x") + "abc")},
		{"two equal lengths", end(head("Content-Length: 3", "Content-Length: 3") + "abc")}, {"two lengths that differ", end(head("Content-Length: 3", "Content-Length: 4") + "abc")}, {"a list of lengths", end(head("Content-Length: 3, 3") + "abc")}, {"a length that is no number", end(head("Content-Length: x") + "abc")},
		{"a negative length", end(head("Content-Length: -1") + "abc")}, {"an empty length", end(head("Content-Length:") + "abc")}, {"a length with a sign", end(head("Content-Length: +3") + "abc")}, {"fewer bytes than the length", end(head("Content-Length: 5") + "abc")}, {"more bytes than the length", says(head("Content-Length: 3") + "abcdef")},
		{"a second response", says(fine.raw + fine.raw)}, {"HTTP/1.0", end("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"HTTP/1.0 that keeps", says("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc")}, {"HTTP/1.0 without a length", end("HTTP/1.0 200 OK\r\n\r\nabc")},
		{"HTTP/1.0 with chunks", end("HTTP/1.0 200 OK\r\n" + chunked + "\r\n\r\n3\r\nabc\r\n0\r\n\r\n")}, {"HTTP/1.2", end("HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"HTTP/2.0", end("HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"HTTP/0.9", end("hello")}, {"ICY", end("ICY 200 OK\r\nContent-Length: 3\r\n\r\nabc")},
		{"no reason", says("HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\nabc")}, {"no reason and no space", says("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc")}, {"an odd reason", says("HTTP/1.1 200 a\tb \xff\r\nContent-Length: 3\r\n\r\nabc")}, {"two spaces", end("HTTP/1.1  200 OK\r\nContent-Length: 3\r\n\r\nabc")},
		{"a status of two digits", end("HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"a status of four digits", end("HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"a status that is no number", end("HTTP/1.1 abc OK\r\nContent-Length: 3\r\n\r\nabc")}, {"a status of 0", end("HTTP/1.1 000 OK\r\nContent-Length: 3\r\n\r\nabc")},
		{"a status of 99", end("HTTP/1.1 099 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"a status of 600", says("HTTP/1.1 600 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"a status of 999", says("HTTP/1.1 999 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"a status of 299", says("HTTP/1.1 299 OK\r\nContent-Length: 3\r\n\r\nabc")}, {"a status of 418", status(418)},
		{"bare line feeds", end("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc")}, {"a bare line feed in one line", end("HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 3\r\n\r\nabc")}, {"a fold", end("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 3\r\n\r\nabc")}, {"a NUL in a value", end("HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 3\r\n\r\nabc")},
		{"a control byte in a value", end("HTTP/1.1 200 OK\r\nX-A: \x01\r\nContent-Length: 3\r\n\r\nabc")}, {"a carriage return in a value", end("HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 3\r\n\r\nabc")}, {"a space before the colon", end("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 3\r\n\r\nabc")}, {"a line without a colon", end("HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 3\r\n\r\nabc")},
		{"a name with a space", end("HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 3\r\n\r\nabc")}, {"a name with a bracket", end("HTTP/1.1 200 OK\r\nX(A): 1\r\nContent-Length: 3\r\n\r\nabc")}, {"no name", end("HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 3\r\n\r\nabc")}, {"bytes beyond ASCII", says("HTTP/1.1 200 OK\r\nX-A: \xff\xc3\xa4\r\nContent-Length: 3\r\n\r\nabc")},
		{"an empty line before", says("\r\n" + fine.raw)}, {"junk before", end("junk\r\n" + fine.raw)}, {"90 fields", says("HTTP/1.1 200 OK\r\n" + many(90) + "Content-Length: 3\r\n\r\nabc")}, {"120 fields", end("HTTP/1.1 200 OK\r\n" + many(120) + "Content-Length: 3\r\n\r\nabc")}, {"a field of 30 KB", says("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 30_000) + "\r\nContent-Length: 3\r\n\r\nabc")},
		{"a field of 70 KB", end("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 70_000) + "\r\nContent-Length: 3\r\n\r\nabc")}, {"nothing", end("")}, {"a reset", says("").then(abandon)}, {"half a status line", end("HTTP/1.1 20")}, {"half a head", end("HTTP/1.1 200 OK\r\nContent-Le")}, {"half a head and a reset", says("HTTP/1.1 200 OK\r\nContent-Le").then(abandon)},
		{"half a body and a reset", says(head("Content-Length: 5") + "abc").then(abandon)}, {"204", says("HTTP/1.1 204 No Content\r\n\r\n")}, {"204 with a length", says("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")}, {"204 with a body", says("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc")}, {"204 with chunks", says("HTTP/1.1 204 No Content\r\n" + chunked + "\r\n\r\n0\r\n\r\n")},
		{"205", says("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n")}, {"304", says("HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n")}, {"304 with a length", says("HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n")}, {"304 with a body", says("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc")}, {"304 with chunks", says("HTTP/1.1 304 Not Modified\r\n" + chunked + "\r\n\r\n")},
		{"100 first", says("HTTP/1.1 100 Continue\r\n\r\n" + fine.raw)}, {"100 twice", says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + fine.raw)}, {"102 first", says("HTTP/1.1 102 Processing\r\n\r\n" + fine.raw)}, {"103 first", says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + fine.raw)}, {"199 first", says("HTTP/1.1 199 Odd\r\n\r\n" + fine.raw)},
		{"100 alone", end("HTTP/1.1 100 Continue\r\n\r\n")}, {"100 with a length", says("HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\n" + fine.raw)}, {"101 first", end("HTTP/1.1 101 Switching Protocols\r\n\r\n" + fine.raw)}, {"103 with chunks", says("HTTP/1.1 103 Early Hints\r\n" + chunked + "\r\n\r\n" + fine.raw)},
		{"closing", end(head("Connection: close", "Content-Length: 3") + "abc")}, {"closing, and staying", says(head("Connection: close", "Content-Length: 3") + "abc")}, {"fields of the connection", says(head("Connection: X-A", "X-A: 1", "Keep-Alive: timeout=5", "Content-Length: 3") + "abc")}, {"Proxy-Connection", says(head("Proxy-Connection: close", "Content-Length: 3") + "abc")},
		{"Upgrade", says(head("Upgrade: h2c", "Content-Length: 3") + "abc")}, {"Upgrade and Connection", says(head("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3") + "abc")}, {"its own server", says(head("Server: x", "Content-Length: 3") + "abc")}, {"its own date", says(head("Date: x", "Content-Length: 3") + "abc")}, {"two servers", says(head("Server: x", "Server: y", "Content-Length: 3") + "abc")},
		{"fields of the mesh", says(head("X-Envoy-Upstream-Service-Time: 5", "X-Envoy-Decorator-Operation: x", "X-Envoy-Attempt-Count: 2", "X-Envoy-Other: 1", "Proxy-Status: x", "Content-Length: 3") + "abc")}, {"cookies", says(head("Set-Cookie: a=b", "Set-Cookie: c=d", "Content-Length: 3") + "abc")}, {"Via", says(head("Via: 1.1 x", "Content-Length: 3") + "abc")},
		{"a redirect", says("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")}, {"an internal redirect", says("HTTP/1.1 302 Found\r\nLocation: http://app.test/x\r\nContent-Length: 0\r\n\r\n")}, {"immediate health failure", says(head("X-Envoy-Immediate-Health-Check-Fail: true", "Content-Length: 3") + "abc")}, {"degraded", says(head("X-Envoy-Degraded: true", "Content-Length: 3") + "abc")},
		{"a Trailer field without chunks", says(head("Trailer: x", "Content-Length: 3") + "abc")}, {"a request id", says(head("X-Request-Id: 1", "Content-Length: 3") + "abc")}, {"an empty value", says(head("X-A:", "X-B: ", "Content-Length: 3") + "abc")}, {"a large body", says(head("Content-Length: 200000") + strings.Repeat("x", 200_000))},
	}
	var out []question
	for _, o := range odd {
		out = append(out, question{name: o.name, send: request("GET", "/", "odd.test"), replies: []reply{o.reply}})
		out = append(out, question{name: o.name + " to HEAD", send: request("HEAD", "/", "odd.test"), replies: []reply{o.reply}})
		out = append(out, question{name: o.name + " to HTTP/1.0", to: "mesh", send: strings.Replace(request("GET", "/", "odd.test"), "HTTP/1.1", "HTTP/1.0", 1), replies: []reply{o.reply}})
		out = append(out, question{name: o.name + " to HTTP/2", stream: ask("GET", "odd.test", "/"), replies: []reply{o.reply}})
	}
	out = append(out, question{name: "no upstream", send: request("GET", "/", "dead.test")}, question{name: "no upstream, POST", send: request("POST", "/", "dead.test", "Content-Length: 3") + "abc"},
		question{name: "no endpoint", send: request("GET", "/", "nobody.test")}, question{name: "no endpoint, HEAD", send: request("HEAD", "/", "nobody.test")})
	for code := 200; code < 600; code++ {
		if code%100 <= 8 || code == 226 || code == 421 || code == 426 || code == 428 || code == 429 || code == 431 || code == 451 || code/100 == 4 && code%100 < 18 || code == 422 || code == 423 || code == 424 || code == 425 || code == 510 || code == 511 {
			out = append(out, question{name: fmt.Sprintf("status %d", code), send: request("GET", "/", "odd.test"), replies: []reply{says(fmt.Sprintf("HTTP/1.1 %d Odd\r\n\r\n", code)).then(hangUp)}})
		}
	}
	return out
}

// retries are upstreams that fail at first.
func retries() []question {
	var out []question
	failures := []struct {
		name  string
		first reply
	}{{"500", status(500)}, {"502", status(502)}, {"503", status(503)}, {"504", status(504)}, {"409", status(409)}, {"418", status(418)}, {"429", status(429)}, {"400", status(400)}, {"a reset", says("").then(abandon)}, {"an end", says("").then(hangUp)},
		{"what is no response", says("junk\r\n\r\n").then(hangUp)}, {"a limit", says("HTTP/1.1 429 Odd\r\nX-Envoy-Ratelimited: true\r\nContent-Length: 0\r\n\r\n")},
		{"a limit by 503", says("HTTP/1.1 503 Odd\r\nX-Envoy-Ratelimited: true\r\nContent-Length: 0\r\n\r\n")}, {"half a body", says("HTTP/1.1 503 Odd\r\nContent-Length: 5\r\n\r\nab").then(hangUp)}, {"half a head", says("HTTP/1.1 200 OK\r\nX-").then(abandon)}}
	for _, policy := range []string{"5xx", "gateway", "reset", "before", "4xx", "codes", "limited", "refused", "zero", "default", "none"} {
		for _, f := range failures {
			name := policy + ": " + f.name
			out = append(out, question{name: name, send: request("GET", "/"+policy, "retry.test"), replies: []reply{f.first, fine}})
			if policy == "5xx" {
				out = append(out, question{name: name + " for ever", send: request("GET", "/"+policy, "retry.test"), replies: []reply{f.first}},
					question{name: name + " to POST", send: request("POST", "/"+policy, "retry.test", "Content-Length: 3") + "abc", replies: []reply{f.first, fine}},
					question{name: name + " to chunks", send: request("POST", "/"+policy, "retry.test", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\nX-Tail: 1\r\n\r\n", replies: []reply{f.first, fine}})
			}
		}
	}
	for _, kib := range []int{1, 63, 65, 200, 1000, 1024, 1025, 1500} {
		body := strings.Repeat("0123456789abcdef", kib<<10/16)
		out = append(out, question{name: fmt.Sprintf("a body of %d KiB", kib), send: request("POST", "/5xx", "retry.test", fmt.Sprintf("Content-Length: %d", kib<<10)) + body, replies: []reply{status(503), fine}})
	}
	for says, answer := range map[string]reply{"418": status(418), "503": status(503), "yes": says("HTTP/1.1 429 Odd\r\nX-Again: yes\r\nContent-Length: 0\r\n\r\n"), "no": says("HTTP/1.1 429 Odd\r\nX-Again: no\r\nContent-Length: 0\r\n\r\n")} {
		for _, method := range []string{"GET", "DELETE"} {
			for _, field := range []string{"X-May: 1", "X-Other: 1"} {
				name := fmt.Sprintf("fields: %s to %s with %s", says, method, field)
				out = append(out, question{name: name, send: request(method, "/fields", "retry.test", field), replies: []reply{answer, fine}})
			}
		}
	}
	for _, limit := range breakers {
		for _, answer := range []int{200, 503} {
			out = append(out, question{name: fmt.Sprintf("%s 0 and %d", limit, answer), send: request("GET", "/"+limit, "breakers.test"), replies: []reply{status(answer), fine}})
		}
	}
	out = append(out, question{name: "another host", send: request("GET", "/connect", "retry.test")}, question{name: "a dead one", send: request("GET", "/dead", "retry.test")},
		question{name: "the only one, of which less than the whole may be ejected", send: request("GET", "/lone", "retry.test"), replies: []reply{status(500), status(500), fine}},
		question{name: "statuses that are no errors, whatever their class", send: request("GET", "/picky", "retry.test"), replies: []reply{status(500), status(503), fine}},
		question{name: "no series of failures that is complete", send: request("GET", "/detectors", "retry.test"), replies: []reply{status(503), status(503), status(500), status(503), fine}},
		question{name: "a slow one", send: request("GET", "/per-try", "retry.test"), replies: []reply{silence, fine}}, question{name: "a slow one for ever", send: request("GET", "/per-try", "retry.test"), replies: []reply{silence}},
		question{name: "asked for by the client", to: "internal", send: request("GET", "/none", "retry.test", "X-Envoy-Retry-On: 5xx", "X-Envoy-Max-Retries: 2"), replies: []reply{status(503), fine}},
		question{name: "a timeout by the client", to: "internal", send: request("GET", "/none", "retry.test", "X-Envoy-Upstream-Rq-Timeout-Ms: 100"), replies: []reply{silence}})
	return append(out, silences()...)
}

// silences are upstreams that say nothing for longer than a try may take.
func silences() []question {
	half, head := says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"), says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
	interim := says("HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n")
	var out []question
	for _, path := range []string{"/silent", "/hushed"} { // the former is tried again
		for _, s := range []struct {
			name    string
			replies []reply
		}{{"once", []reply{silence, fine}}, {"for ever", []reply{silence}}, {"in the middle of an answer", []reply{half, fine}}, {"after a head", []reply{head, fine}}, {"after an interim head", []reply{interim, fine}}, {"not at all", []reply{fine}}} {
			name := path[1:] + " " + s.name
			out = append(out, question{name: name, send: request("GET", path, "retry.test"), replies: s.replies}, question{name: name + ", to POST", send: request("POST", path, "retry.test", "Content-Length: 3") + "abc", replies: s.replies},
				question{name: name + ", over HTTP/2", stream: ask("GET", "retry.test", path), replies: s.replies})
		}
	}
	return out
}

// limits are clusters with place for one, which is taken. Each case has a cluster of its own, since cases run at the same time.
func limits() []question {
	waits, again := hold{"/requests", []reply{silence}, 1}, []reply{status(503), silence}
	return []question{
		{name: "of requests", send: request("GET", "/requests", "full.test"), held: []hold{waits}},
		{name: "of streams", stream: ask("POST", "full.test", "/streams", "content-type", "application/grpc").with(nil, "\x00\x00\x00\x00\x00"), held: []hold{{"/streams", []reply{silence}, 1}}},
		{name: "of requests that wait", send: request("GET", "/pending", "full.test"), held: []hold{{"/pending", []reply{silence}, 1}, {"/pending", nil, 0}}},
		{name: "of retries", send: request("GET", "/retries", "full.test"), replies: []reply{status(503), fine}, held: []hold{{"/retries", again, 2}}},
		{name: "of retries, by a share", send: request("GET", "/budget", "full.test"), replies: []reply{status(503), fine}},
	}
}

// times are upstreams that are too slow.
func times() []question {
	half := reply{raw: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"}
	return []question{{name: "no answer", send: request("GET", "/short", "time.test"), replies: []reply{silence}}, {name: "no answer to POST", send: request("POST", "/short", "time.test", "Content-Length: 3") + "abc", replies: []reply{silence}},
		{name: "half an answer", send: request("GET", "/short", "time.test"), replies: []reply{half}}, {name: "no answer, idle", send: request("GET", "/idle", "time.test"), replies: []reply{silence}},
		{name: "half an answer, idle", send: request("GET", "/idle", "time.test"), replies: []reply{half}}, {name: "no answer over HTTP/2", stream: ask("GET", "time.test", "/short"), replies: []reply{silence}},
		{name: "half an answer over HTTP/2", stream: ask("GET", "time.test", "/short"), replies: []reply{half}}, {name: "no answer, idle, over HTTP/2", stream: ask("GET", "time.test", "/idle"), replies: []reply{silence}},
		{name: "half a body, idle", send: request("POST", "/idle", "time.test", "Content-Length: 5") + "ab", replies: []reply{silence}}, {name: "half a chunk, idle", send: request("POST", "/idle", "time.test", "Transfer-Encoding: chunked") + "5\r\nab", replies: []reply{silence}},
		{name: "no answer, lasting", send: request("GET", "/lasting", "time.test"), replies: []reply{silence}}, {name: "half an answer, lasting", send: request("GET", "/lasting", "time.test"), replies: []reply{half}},
		{name: "half a body, lasting", send: request("POST", "/lasting", "time.test", "Content-Length: 5") + "ab", replies: []reply{silence}}, {name: "no answer, lasting, over HTTP/2", stream: ask("GET", "time.test", "/lasting"), replies: []reply{silence}},
		{name: "half an answer, lasting, over HTTP/2", stream: ask("GET", "time.test", "/lasting"), replies: []reply{half}}, {name: "not lasting", send: request("GET", "/lasting", "time.test")},
		{name: "no timeout", send: request("GET", "/never", "time.test")},
		{name: "no answer, brief", send: request("GET", "/brief", "time.test"), replies: []reply{silence}}, {name: "half an answer, brief", send: request("GET", "/brief", "time.test"), replies: []reply{half}},
		{name: "half a body, brief", send: request("POST", "/brief", "time.test", "Content-Length: 5") + "ab", replies: []reply{silence}}, {name: "no answer, brief, over HTTP/2", stream: ask("GET", "time.test", "/brief"), replies: []reply{silence}},
		{name: "no answer to gRPC, brief", send: request("POST", "/brief", "time.test", "Content-Type: application/grpc", "Content-Length: 0"), replies: []reply{silence}},
		{name: "half an answer, brief, over HTTP/2", stream: ask("GET", "time.test", "/brief"), replies: []reply{half}}, {name: "no answer, brief, again", send: request("GET", "/again", "time.test"), replies: []reply{silence}},
		{name: "no answer once, brief, again", send: request("GET", "/again", "time.test"), replies: []reply{silence, fine}}, {name: "half an answer, brief, not again", send: request("GET", "/again", "time.test"), replies: []reply{half, fine}},
		{name: "not lasting, brief", send: request("GET", "/brief", "time.test")}}
}

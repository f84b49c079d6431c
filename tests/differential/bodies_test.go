package differential

import (
	"fmt"
	"strings"
)

// post writes a request with a body as it is framed by lines.
func post(body string, lines ...string) string {
	return request("POST", "/b", "app.test", lines...) + body
}

// framings are odd ways to say where a body ends. What could be a second request is told apart by its path.
func framings() []question {
	second := "GET /second HTTP/1.1\r\nHost: app.test\r\nX-Case: @ID@\r\n\r\n"
	const chunked = "Transfer-Encoding: chunked"
	out := table("edge",
		"a length", post("abc", "Content-Length: 3"),
		"a length of nothing", post("", "Content-Length: 0"),
		"no framing", post(""),
		"a length and fewer bytes", post("ab", "Content-Length: 3")+shut,
		"a length and a second request", post("abc"+second, "Content-Length: 3"),
		"two equal lengths", post("abc", "Content-Length: 3", "Content-Length: 3"),
		"two lengths that differ", post("abc", "Content-Length: 3", "Content-Length: 4")+shut,
		"a list of equal lengths", post("abc", "Content-Length: 3, 3"),
		"a list of lengths that differ", post("abc", "Content-Length: 3, 4")+shut,
		"a length with a sign", post("abc", "Content-Length: +3")+shut,
		"a negative length", post("abc", "Content-Length: -3")+shut,
		"a hexadecimal length", post("abc", "Content-Length: 0x3")+shut,
		"a length with a fraction", post("abc", "Content-Length: 3.0")+shut,
		"a length with zeros before", post("abc", "Content-Length: 0003"),
		"a length with spaces around", post("abc", "Content-Length:   3   "),
		"a length with a space within", post("abc", "Content-Length: 3 3")+shut,
		"an empty length", post("", "Content-Length:")+shut,
		"a huge length", post("abc", "Content-Length: 99999999999999999999")+shut,
		"a length of 2 to the 63", post("abc", "Content-Length: 9223372036854775808")+shut,
		"a length of 19 digits", post("abc", "Content-Length: 1000000000000000000")+shut,
		"a length that is no number", post("abc", "Content-Length: x")+shut,
		"a length in other digits", post("abc", "Content-Length: \u0663")+shut,
		"a length with a NUL", post("abc", "Content-Length: 3\x00")+shut,
		"a length under a name with a space", post("abc", "Content-Length : 3")+shut,
		"a length under a name with an underscore", post("", "Content_Length: 3"),
		"chunks", post("3\r\nabc\r\n0\r\n\r\n", chunked),
		"no chunk", post("0\r\n\r\n", chunked),
		"several chunks", post("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", chunked),
		"chunks and a second request", post("3\r\nabc\r\n0\r\n\r\n"+second, chunked),
		"chunks and a length", post("3\r\nabc\r\n0\r\n\r\n", chunked, "Content-Length: 3")+shut,
		"a length and chunks", post("0\r\n\r\n"+second, "Content-Length: 6", chunked)+shut,
		"chunks and a length of nothing", post("0\r\n\r\n"+second, "Content-Length: 0", chunked)+shut,
		"chunks in upper case", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: CHUNKED"),
		"chunks under a name in lower case", post("3\r\nabc\r\n0\r\n\r\n", "transfer-encoding: chunked"),
		"chunks with spaces around", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding:  chunked  "),
		"chunks with a tab before", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding:\tchunked"),
		"chunks with a vertical tab before", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: \x0bchunked")+shut,
		"chunks under a name with a space", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding : chunked")+shut,
		"chunks on a folded line", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding:\r\n chunked")+shut,
		"chunks under a name with an underscore", post("", "Transfer_Encoding: chunked"),
		"chunks in quotes", post("3\r\nabc\r\n0\r\n\r\n", `Transfer-Encoding: "chunked"`)+shut,
		"chunks twice", post("3\r\nabc\r\n0\r\n\r\n", chunked, chunked)+shut,
		"chunks twice in a list", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked, chunked")+shut,
		"gzip and chunks", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: gzip, chunked")+shut,
		"chunks and gzip", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked, gzip")+shut,
		"identity", post("abc", "Transfer-Encoding: identity")+shut,
		"identity and chunks", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: identity, chunked")+shut,
		"identity and a length", post("abc", "Transfer-Encoding: identity", "Content-Length: 3")+shut,
		"gzip alone", post("abc", "Transfer-Encoding: gzip")+shut,
		"an encoding that nobody knows", post("abc", "Transfer-Encoding: xchunked")+shut,
		"chunks with a parameter", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked;q=1")+shut,
		"an empty encoding", post("abc", "Transfer-Encoding:")+shut,
		"a list of an empty encoding and chunks", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: , chunked")+shut,
		"chunks with a comma", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked,")+shut,
		"an extension", post("3;a=b\r\nabc\r\n0\r\n\r\n", chunked),
		"an extension in quotes", post("3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", chunked),
		"an extension without value", post("3;a\r\nabc\r\n0;b\r\n\r\n", chunked),
		"an empty extension", post("3;\r\nabc\r\n0\r\n\r\n", chunked),
		"a long extension", post("3;"+strings.Repeat("a", 1000)+"\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"an extension with a line feed", post("3;a\nb\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"an extension with a NUL", post("3;a\x00\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"an extension with a carriage return", post("3;a\rb\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size with a space after", post("3 \r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size with a space before", post(" 3\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size with a tab after", post("3\t\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size with a space before its extension", post("3 ;a\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size with a sign", post("+3\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a negative size", post("-3\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size with a prefix", post("0x3\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size with zeros before", post("0003\r\nabc\r\n0\r\n\r\n", chunked),
		"a size with many zeros before", post(strings.Repeat("0", 30)+"3\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size in upper case", post("A\r\n0123456789\r\n0\r\n\r\n", chunked),
		"a size in lower case", post("a\r\n0123456789\r\n0\r\n\r\n", chunked),
		"a size that is no number", post("x\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"an empty size", post("\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a huge size", post("ffffffffffffffffff\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size of 2 to the 63", post("8000000000000000\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size and a bare line feed", post("3\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a size and a bare carriage return", post("3\rabc\r\n0\r\n\r\n", chunked)+shut,
		"data and a bare line feed", post("3\r\nabc\n0\r\n\r\n", chunked)+shut,
		"data and nothing", post("3\r\nabc0\r\n\r\n", chunked)+shut,
		"more data than the size says", post("3\r\nabcd\r\n0\r\n\r\n", chunked)+shut,
		"less data than the size says", post("4\r\nabc\r\n0\r\n\r\n", chunked)+shut,
		"a last chunk and a bare line feed", post("3\r\nabc\r\n0\n\r\n", chunked)+shut,
		"an end of a bare line feed", post("3\r\nabc\r\n0\r\n\n", chunked)+shut,
		"several zeros", post("3\r\nabc\r\n000\r\n\r\n", chunked),
		"an end that is cut", post("3\r\nabc\r\n0\r\n", chunked)+shut,
		"data that is cut", post("3\r\nab", chunked)+shut,
		"a trailer", post("3\r\nabc\r\n0\r\nX-Tail: 1\r\n\r\n", chunked),
		"a trailer that was announced", post("3\r\nabc\r\n0\r\nX-Tail: 1\r\n\r\n", chunked, "Trailer: X-Tail"),
		"two trailers", post("3\r\nabc\r\n0\r\nX-Tail: 1\r\nX-Tail: 2\r\n\r\n", chunked),
		"a trailer that frames", post("3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", chunked),
		"a trailer that encodes", post("3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", chunked),
		"a trailer that routes", post("3\r\nabc\r\n0\r\nHost: denied.test\r\n\r\n", chunked),
		"a trailer of the connection", post("3\r\nabc\r\n0\r\nConnection: close\r\n\r\n", chunked),
		"a trailer that authorises", post("3\r\nabc\r\n0\r\nAuthorization: x\r\n\r\n", chunked),
		"a trailer of the mesh", post("3\r\nabc\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nX-Envoy-Internal: true\r\n\r\n", chunked),
		"a folded trailer", post("3\r\nabc\r\n0\r\nX-Tail: 1\r\n 2\r\n\r\n", chunked)+shut,
		"a trailer without a colon", post("3\r\nabc\r\n0\r\nX-Tail\r\n\r\n", chunked)+shut,
		"a trailer with a NUL", post("3\r\nabc\r\n0\r\nX-Tail: a\x00\r\n\r\n", chunked)+shut,
		"a trailer with a bare line feed", post("3\r\nabc\r\n0\r\nX-Tail: a\n\r\n", chunked)+shut,
		"a GET with a length", request("GET", "/b", "app.test", "Content-Length: 3")+"abc",
		"a GET with chunks", request("GET", "/b", "app.test", chunked)+"3\r\nabc\r\n0\r\n\r\n",
		"a HEAD with a length", request("HEAD", "/b", "app.test", "Content-Length: 3")+"abc",
		"a TRACE with a length", request("TRACE", "/b", "app.test", "Content-Length: 3")+"abc",
		"a CONNECT with a length", request("CONNECT", "app.test:80", "app.test", "Content-Length: 3")+"abc"+shut,
		"HTTP/1.0 with chunks", strings.Replace(post("3\r\nabc\r\n0\r\n\r\n", chunked), "HTTP/1.1", "HTTP/1.0", 1)+shut,
		"HTTP/1.0 with a length", strings.Replace(post("abc", "Content-Length: 3"), "HTTP/1.1", "HTTP/1.0", 1),
		"HTTP/1.0 without framing", strings.Replace(post("abc"), "HTTP/1.1", "HTTP/1.0", 1)+shut,
		"a large body", post(strings.Repeat("x", 200_000), "Content-Length: 200000"),
		"a large chunk", post("30d40\r\n"+strings.Repeat("x", 200_000)+"\r\n0\r\n\r\n", chunked),
		"a request within a body", post(second, fmt.Sprintf("Content-Length: %d", len(second)+len("eid0000")-len("@ID@"))),
	)
	for i := range out {
		if strings.Contains(out[i].send, "/second") && !strings.Contains(out[i].send, shut) && out[i].name != "a request within a body" {
			out[i].answers = 2
		}
	}
	return out
}

// connections are what becomes of a connection, and of several requests on one.
func connections() []question {
	old := func(target string, lines ...string) string {
		return strings.Replace(get(target, lines...), "HTTP/1.1", "HTTP/1.0", 1)
	}
	out := table("edge", "HTTP/1.0", old("/"), "HTTP/1.0 that is kept", old("/", "Connection: keep-alive"), "HTTP/1.0 that is closed", old("/", "Connection: close"), "HTTP/1.0 with a list", old("/", "Connection: x, Keep-Alive"),
		"closed", get("/", "Connection: close"), "closed in upper case", get("/", "Connection: CLOSE"), "closed in a list", get("/", "Connection: x, close"), "kept", get("/", "Connection: keep-alive"),
		"closed by the proxy's own name", get("/", "Proxy-Connection: close"), "half closed", get("/")+shut, "not ours and closed", request("GET", "/", "unknown.test", "Connection: close"),
		"not ours and kept", request("GET", "/", "unknown.test"), "not ours with a body", request("POST", "/", "unknown.test", "Content-Length: 3")+"abc",
		"not ours with chunks", request("POST", "/", "unknown.test", "Transfer-Encoding: chunked")+"3\r\nabc\r\n0\r\n\r\n",
		"denied with a body", request("POST", "/denied", "app.test", "Content-Length: 3")+"abc")
	out = append(out, table("modern", "HTTP/1.0 where it is not taken", old("/"), "HTTP/1.0 where it is not taken, to be kept", old("/", "Connection: keep-alive"), "HTTP/0.9", "GET /\r\n\r\n")...)
	more := func(name, send string, answers int, replies ...reply) {
		out = append(out, question{name: name, send: send, answers: answers, replies: replies})
	}
	two := get("/1") + get("/2")
	more("two at once", two, 2)
	more("three at once", two+get("/3"), 3)
	more("two at once, the first of which closes", get("/1", "Connection: close")+get("/2"), 1)
	more("two at once, the first of which is bad", "GET / HTTP/1.1\r\nHost: app.test\r\nX-Case: @ID@\r\nX A: 1\r\n\r\n"+get("/2"), 1)
	more("two at once, the second of which is bad", get("/1")+"GET / HTTP/1.1\r\nHost: app.test\r\nX-Case: @ID@\r\nX A: 1\r\n\r\n", 2)
	more("two at once, with a body each", post("abc", "Content-Length: 3")+post("3\r\ndef\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 2)
	more("two at once, HEAD first", request("HEAD", "/1", "app.test")+get("/2"), 2)
	more("two at once, with an empty line between", get("/1")+"\r\n"+get("/2"), 2)
	more("two at once, with junk between", get("/1")+"junk\r\n\r\n"+get("/2"), 2)
	more("one after the other", get("/1")+await+get("/2"), 2)
	more("two at once, the first of which the upstream ends", two, 2, says("HTTP/1.1 200 OK\r\n\r\nall").then(hangUp), fine)
	more("continue", post(interim+"abc", "Content-Length: 3", "Expect: 100-continue"), 1, reply{raw: fine.raw, early: false})
	more("continue from the upstream", post(interim+"abc", "Content-Length: 3", "Expect: 100-continue"), 1, reply{raw: "HTTP/1.1 100 Continue\r\n\r\n" + fine.raw, early: true})
	more("continue, not waited for", post("abc", "Content-Length: 3", "Expect: 100-continue"), 1)
	more("continue with chunks", post(interim+"3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Expect: 100-Continue"), 1)
	more("continue without a body", get("/", "Expect: 100-continue"), 1)
	more("continue in HTTP/1.0", strings.Replace(post("abc", "Content-Length: 3", "Expect: 100-continue"), "HTTP/1.1", "HTTP/1.0", 1), 1)
	more("continue and refused", request("POST", "/denied", "app.test", "Content-Length: 3", "Expect: 100-continue"), 1)
	more("continue and early", post("", "Content-Length: 3", "Expect: 100-continue")+interim, 1, reply{raw: "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", early: true})
	more("early", post("abc"+interim+"def", "Content-Length: 6"), 1, reply{raw: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", early: true})
	more("early and closed", post("abc"+interim, "Content-Length: 600")+shut, 1, reply{raw: "HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", early: true, end: hangUp})
	return out
}

// upgrades are requests for another protocol.
func upgrades() []question {
	const websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	switched := says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
	var out []question
	more := func(name, send string, replies ...reply) {
		out = append(out, question{name: name, send: send, replies: replies})
	}
	more("to websocket", get("/", websocket), switched)
	more("to websocket in upper case", get("/", strings.Replace(websocket, "websocket", "WebSocket", 1)), switched)
	more("to websocket among others", get("/", strings.Replace(websocket, "Connection: Upgrade", "Connection: keep-alive, Upgrade", 1)), switched)
	more("refused by the upstream", get("/", websocket), says("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"))
	more("not heeded by the upstream", get("/", websocket), fine)
	more("answered by another protocol", get("/", websocket), says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"))
	more("answered without a protocol", get("/", websocket), says("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
	more("to what is not allowed", get("/", "Connection: Upgrade\r\nUpgrade: other"), switched)
	more("to h2c", get("/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"))
	more("to TLS", get("/", "Connection: Upgrade\r\nUpgrade: TLS/1.2"))
	more("to several", get("/", strings.Replace(websocket, "Upgrade: websocket", "Upgrade: other, websocket", 1)), switched)
	more("without Connection", get("/", strings.Replace(websocket, "Connection: Upgrade\r\n", "", 1)), switched)
	more("without Upgrade", get("/", "Connection: Upgrade"), fine)
	more("with a length", post("abc", "Content-Length: 3", websocket), switched)
	more("with a length of nothing", request("POST", "/b", "app.test", "Content-Length: 0", websocket), switched)
	more("with chunks", post("3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", websocket), switched)
	more("by POST", request("POST", "/b", "app.test", websocket), switched)
	more("in HTTP/1.0", strings.Replace(get("/", websocket), "HTTP/1.1", "HTTP/1.0", 1), fine)
	more("that nobody asked for", get("/"), switched)
	more("to an unknown host", request("GET", "/", "unknown.test", websocket))
	more("that is denied", get("/denied", websocket))
	more("to a dead upstream", request("GET", "/", "dead.test", websocket))
	more("that is redirected", request("GET", "/path", "redirect.test", websocket))
	more("by CONNECT", request("CONNECT", "app.test:80", "app.test")+shut)
	return out
}

// Package sniff tells from the first bytes of a connection what it speaks: TLS (and what its ClientHello says), HTTP/1,
// HTTP/2, or none of them. It only judges bytes; it must not read connections or keep state.
package sniff

import (
	"bytes"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Verdict is how sure a sniffer is.
type Verdict uint8

// The verdicts.
const (
	More Verdict = iota // more bytes are needed
	Yes
	No
)

// MaxPeek is how many bytes are enough for any verdict: what is undecided after them is No.
const MaxPeek = 16 << 10

// preface begins every HTTP/2 connection.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// methods that begin HTTP/1 requests: RFC 9110's, PATCH, and WebDAV's. Never written.
var methods = [...]string{
	"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE ",
	"PROPFIND ", "PROPPATCH ", "MKCOL ", "COPY ", "MOVE ", "LOCK ", "UNLOCK ", "REPORT ", "SEARCH ", "PURGE ", "QUERY ",
}

// HTTP judges whether p begins an HTTP connection, and which: HTTP10, HTTP1 or HTTP2; TCP with No.
func HTTP(p []byte) (exchange.Protocol, Verdict) {
	n := min(len(p), len(preface))
	if string(p[:n]) == preface[:n] {
		if n == len(preface) {
			return exchange.HTTP2, Yes
		}
		return exchange.TCP, More
	}
	return http1(p)
}

// http1 wants a known method, a target, and a version at the line's end.
func http1(p []byte) (exchange.Protocol, Verdict) {
	for _, m := range methods {
		n := min(len(p), len(m))
		if string(p[:n]) != m[:n] {
			continue
		}
		if n < len(m) {
			return exchange.TCP, More
		}
		return requestLine(p[len(m):])
	}
	return exchange.TCP, No
}

func requestLine(p []byte) (exchange.Protocol, Verdict) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		for _, c := range p {
			if c < ' ' && c != '\r' || c == 0x7f {
				return exchange.TCP, No
			}
		}
		if len(p) >= MaxPeek/2 {
			return exchange.HTTP1, Yes // an endless target: let the codec refuse it
		}
		return exchange.TCP, More
	}
	line := bytes.TrimSuffix(p[:i], []byte{'\r'})
	switch {
	case bytes.HasSuffix(line, []byte(" HTTP/1.1")):
		return exchange.HTTP1, Yes
	case bytes.HasSuffix(line, []byte(" HTTP/1.0")):
		return exchange.HTTP10, Yes
	}
	return exchange.TCP, No
}

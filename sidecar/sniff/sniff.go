// Package sniff tells from the first bytes of a connection what it speaks: TLS (and what its ClientHello says), HTTP/1,
// HTTP/2, or none of them. It only judges bytes; it must not read connections or keep state.
package sniff

import (
	"bytes"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Verdict is how sure a sniffer is.
type Verdict uint8

// The verdicts.
const (
	More Verdict = iota // more bytes are needed
	Yes
	No
	// Doubt is More of bytes with which other protocols begin as well: a client that has said only them, and goes on no more, waits for an answer.
	Doubt
)

// MaxPeek is how many bytes are enough for any verdict: what is undecided after them is No.
const MaxPeek = 16 << 10

// preface begins every HTTP/2 connection.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// methods with which hardly anything but HTTP begins: RFC 9110's, PATCH, WebDAV's, and UPnP's. Never written.
var methods = [...]string{
	"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
	"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "PURGE", "QUERY",
	"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "LABEL", "LINK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKREDIRECTREF", "MKWORKSPACE",
	"ORDERPATCH", "REBIND", "UNBIND", "UNCHECKOUT", "UNLINK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
	"M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "SOURCE",
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

// http1 wants a method, which may be any token, a target, and a version at the line's end.
func http1(p []byte) (exchange.Protocol, Verdict) {
	n := 0
	for n < len(p) && exchange.TokenByte(p[n]) {
		n++
	}
	switch {
	case n == len(p) && n < MaxPeek/2:
		return exchange.TCP, undecided(p, strings.HasPrefix)
	case n == 0 || n == len(p) || p[n] != ' ':
		return exchange.TCP, No
	}
	return requestLine(p[n+1:], undecided(p[:n], func(m, said string) bool { return m == said }))
}

// undecided is Doubt, unless the method, or what there is of it, is one of the known.
func undecided(p []byte, is func(method, said string) bool) Verdict {
	said := string(p)
	for _, m := range methods {
		if is(m, said) {
			return More
		}
	}
	return Doubt
}

// requestLine judges what follows the method; v: what it is without an end.
func requestLine(p []byte, v Verdict) (exchange.Protocol, Verdict) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return begun(p, v)
	}
	line := bytes.TrimSuffix(p[:i], []byte{'\r'})
	switch target, version := cutLast(line); {
	case len(target) == 0 || unprintable(line):
	case version == "HTTP/1.1":
		return exchange.HTTP1, Yes
	case version == "HTTP/1.0":
		return exchange.HTTP10, Yes
	}
	return exchange.TCP, No
}

// cutLast cuts a line at its last space.
func cutLast(line []byte) (before []byte, after string) {
	i := max(bytes.LastIndexByte(line, ' '), 0)
	return line[:i], string(line[min(i+1, len(line)):])
}

// begun judges a request line without an end.
func begun(p []byte, v Verdict) (exchange.Protocol, Verdict) {
	switch {
	case unprintable(p):
	case len(p) < MaxPeek/2:
		return exchange.TCP, v
	case v == More || p[0] == '/':
		return exchange.HTTP1, Yes // an endless target: let the codec refuse it
	}
	return exchange.TCP, No
}

// unprintable says whether there are bytes that no request line has.
func unprintable(p []byte) bool {
	return bytes.ContainsFunc(p, func(c rune) bool { return c < ' ' && c != '\r' || c == 0x7f })
}

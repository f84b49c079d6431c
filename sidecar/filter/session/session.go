// Package session keeps each client with the endpoint that served it first, by a cookie or a header that names the endpoint (Envoy's
// envoy.filters.http.stateful_session). It does not choose endpoints: it says which one is wanted, and tells the client which one it was.
package session

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Config says where clients keep the endpoint: in a cookie or in a header. A Config with neither keeps nobody.
type Config struct {
	Cookie string
	Path   string        // of the cookie: requests for other paths take no part; empty: all do
	TTL    time.Duration // of the cookie; 0: it ends with the client's session
	Header string        // in lower case
	Strict bool          // no other endpoint will do
}

// Filter keeps clients.
type Filter struct {
	c      Config
	suffix string // of set-cookie
}

// New checks c.
func New(c Config) (*Filter, error) {
	switch {
	case c.Cookie != "" && c.Header != "":
		return nil, fmt.Errorf("both a cookie and a header")
	case c.TTL < 0:
		return nil, fmt.Errorf("ttl: %v is less than 0", c.TTL)
	case strings.ContainsAny(c.Cookie+c.Path, ";,\r\n\" ") || strings.ContainsAny(c.Header, " :\r\n"):
		return nil, fmt.Errorf("%q %q %q: no name of a cookie or header, or no path", c.Cookie, c.Path, c.Header)
	}
	f := &Filter{c: c}
	if c.TTL > 0 {
		f.suffix = "; Max-Age=" + strconv.FormatInt(int64(c.TTL/time.Second), 10)
	}
	if c.Path != "" {
		f.suffix += "; Path=" + c.Path
	}
	f.suffix += "; HttpOnly"
	return f, nil
}

// Request implements filter.HTTP.
func (f *Filter) Request(x *exchange.Exchange) exchange.Outcome {
	var kept exchange.View
	switch {
	case f.c.Cookie != "" && f.within(x.Request.Path):
		kept = x.Request.Cookie(f.c.Cookie)
	case f.c.Header != "":
		kept = x.Request.Get(f.c.Header)
	default:
		return exchange.OK
	}
	x.Pin = exchange.Pin{On: true, Strict: f.c.Strict, Address: f.read(kept, x.Start)}
	return exchange.OK
}

// within says whether a request's path is at or below the cookie's (RFC 6265, section 5.1.4).
func (f *Filter) within(path exchange.View) bool {
	at := f.c.Path
	if at == "" || at == "/" {
		return true
	}
	rest, below := strings.CutPrefix(string(path), at)
	return below && (rest == "" || strings.HasSuffix(at, "/") || rest[0] == '/' || rest[0] == '?')
}

// Response implements filter.Responder: a client that is served by another endpoint than it asked for is told which.
func (f *Filter) Response(x *exchange.Exchange) {
	if !x.Pin.On || x.Upstream.Endpoint == nil || x.FirstByte.IsZero() {
		return
	}
	at := x.Upstream.Endpoint.Key()
	if at == x.Pin.Address {
		return
	}
	h := &x.Response
	if f.c.Header != "" {
		h.SetView(f.c.Header, h.Append(func(dst []byte) []byte { return base64.StdEncoding.AppendEncode(dst, []byte(at)) }))
		return
	}
	h.AddView(setCookie, h.Append(func(dst []byte) []byte {
		dst = append(append(dst, f.c.Cookie...), `="`...)
		dst = base64.StdEncoding.AppendEncode(dst, f.write(at, x.Start))
		return append(append(dst, '"'), f.suffix...)
	}))
}

// setCookie is never written.
var setCookie = exchange.View("set-cookie")

// The fields of Envoy's message Cookie, with their types.
const (
	fieldAddress = 1<<3 | 2 // bytes
	fieldExpires = 2 << 3   // seconds since 1970; absent: never
)

// write is a cookie's content.
func (f *Filter) write(at string, now time.Time) []byte {
	out := binary.AppendUvarint([]byte{fieldAddress}, uint64(len(at)))
	out = append(out, at...)
	if f.c.TTL > 0 {
		out = binary.AppendUvarint(append(out, fieldExpires), uint64(now.Add(f.c.TTL).Unix()))
	}
	return out
}

// read is the address that a client kept; empty where it kept none, none that can be read, or for too long. A header is the address itself, and so were
// cookies once.
func (f *Filter) read(kept exchange.View, now time.Time) string {
	if len(kept) == 0 {
		return ""
	}
	content, err := base64.StdEncoding.DecodeString(string(kept))
	if err != nil {
		return ""
	}
	if f.c.Header != "" || len(content) == 0 || content[0] != fieldAddress {
		return string(content)
	}
	at, expires, ok := parse(content)
	if !ok || expires != 0 && uint64(now.Unix()) > expires {
		return ""
	}
	return at
}

// parse reads the message; fields that it does not know are no cookie of ours.
func parse(p []byte) (at string, expires uint64, ok bool) {
	for len(p) > 0 {
		field := p[0]
		n, size := binary.Uvarint(p[1:])
		if size <= 0 {
			return "", 0, false
		}
		switch p = p[1+size:]; {
		case field == fieldAddress && n <= uint64(len(p)):
			at, p = string(p[:n]), p[n:]
		case field == fieldExpires:
			expires = n
		default:
			return "", 0, false
		}
	}
	return at, expires, at != ""
}

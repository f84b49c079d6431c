package http1

import (
	"bytes"
	"encoding/binary"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// framing is what a head says about the body and the connection.
type framing struct {
	length     int64 // -1: none given
	chunked    bool
	close      bool
	keepAlive  bool // said so explicitly (HTTP/1.0)
	upgrade    exchange.View
	hosts      int
	http10     bool
	connection bool // a connection field was there
	wantsUp    bool // connection: upgrade
	trailers   bool // te: trailers, beside whatever else
	named      bool // connection named further fields
	reserved   bool // connection named what tells the way of a request
	encodings  int
	why        string // a refused head's detail, by Envoy's names where it has one; "": its codec's
}

// What is wrong with heads.
const (
	whyField    = "http1.invalid_characters"
	whyEncoding = "http1.invalid_transfer_encoding"
	whyLength   = "http1.content_length_not_allowed"
	whyBoth     = "http1.content_length_and_chunked_not_allowed"
	whyNumber   = "http1.invalid_content_length"
	whyHost     = "missing_host_header"
	whyHosts    = "http1.multiple_host_headers"
	whyTarget   = "http1.invalid_url"
)

// bad refuses a head.
func (f *framing) bad(why string) error {
	f.why = why
	return exchange.ErrProtocol
}

// Byte classes; never written.
var (
	// nameLower maps a token byte to lower case, everything else to 0.
	nameLower = func() (t [256]byte) {
		for c := range t {
			b := byte(c)
			if exchange.TokenByte(b) {
				t[c] = b
				if 'A' <= b && b <= 'Z' {
					t[c] = b | 0x20
				}
			}
		}
		return t
	}()
	// valueByte says what may stand in a field value: visible bytes, obs-text, space and tab.
	valueByte = func() (t [256]bool) {
		for c := range t {
			t[c] = c >= ' ' && c != 0x7f || c == '\t'
		}
		return t
	}()
)

// headEnd finds the end of a head in p, searching from an earlier result on. end 0: more bytes are needed. ok false: a
// line ends in a bare LF.
func headEnd(p []byte, from int) (end, next int, ok bool) {
	for {
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			return 0, from, true
		}
		i += from
		if i == 0 || p[i-1] != '\r' {
			return 0, from, false
		}
		if i == from+1 {
			return i + 1, i + 1, true
		}
		from = i + 1
	}
}

// parseFields reads the field lines of a head (from after its first line to after the empty line) into h, names made
// lower case in place. Fields that are the codec's own business go to f instead.
func parseFields(p []byte, h *exchange.Head, f *framing, most int) error {
	f.length = -1
	for len(p) > 2 {
		i := bytes.IndexByte(p, '\n')
		line := p[:i-1]
		p = p[i+1:]
		colon := -1
		for j, c := range line {
			if c == ':' {
				colon = j
				break
			}
			l := nameLower[c]
			if l == 0 { // also obs-fold and space before the colon
				return f.bad(whyField)
			}
			line[j] = l
		}
		if colon <= 0 {
			return f.bad(whyField)
		}
		value := trim(line[colon+1:])
		if !visible(value) {
			return f.bad(whyField)
		}
		own, err := f.note(line[:colon], value)
		if err != nil {
			return err
		}
		if own {
			continue
		}
		if len(h.Fields) >= most {
			return exchange.ErrTooLarge
		}
		h.Fields = append(h.Fields, exchange.Field{Name: line[:colon:colon], Value: value})
	}
	if f.trailers {
		h.Fields = append(h.Fields, exchange.Field{Name: teName, Value: teTrailers})
	}
	return nil
}

// What is left of te; never written.
var teName, teTrailers = exchange.View("te"), exchange.View("trailers")

// visible says whether v may be a field's value. Most values are plain text: eight bytes at once show that none of them is below a space, or DEL
// (as in Anderson's "Bit Twiddling Hacks": hasless, haszero); what they cannot tell, tabs, is looked at byte by byte.
func visible(v []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(v) >= 8 {
		w := binary.LittleEndian.Uint64(v)
		del := w ^ ones*0x7f
		if ((w-ones*' ')&^w|(del-ones)&^del)&high != 0 && !eachVisible(v[:8]) {
			return false
		}
		v = v[8:]
	}
	return eachVisible(v)
}

func eachVisible(v []byte) bool {
	for _, c := range v {
		if !valueByte[c] {
			return false
		}
	}
	return true
}

func trim(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v[:len(v):len(v)]
}

// note takes in a field that is the codec's own business; true: it does not belong into the head.
func (f *framing) note(name, value []byte) (own bool, err error) {
	switch string(name) {
	case "content-length":
		if f.length >= 0 { // twice is refused, be it the same: others may read the one or the other
			return true, f.bad(whyLength)
		}
		n, ok := parseLength(value)
		if !ok {
			return true, f.bad(whyNumber)
		}
		f.length = n
		return false, nil
	case "transfer-encoding":
		f.encodings++
		f.chunked = exchange.View(value).EqualFold("chunked")
		if !f.chunked || f.encodings > 1 {
			return true, f.bad(whyEncoding)
		}
		return true, nil
	case "connection":
		f.connection = true
		f.tokens(value)
		return false, nil // removed later, with the fields that it names
	case "host":
		f.hosts++
		return false, nil
	case "upgrade":
		if f.upgrade == nil {
			f.upgrade = value
		}
		return true, nil
	case "keep-alive", "proxy-connection", "http2-settings":
		return true, nil
	case "te":
		f.trailers = f.trailers || hasToken(value, "trailers")
		return true, nil
	}
	return false, nil
}

// parseLength reads digits only; 18 of them at most, so that no sum overflows.
func parseLength(v []byte) (int64, bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// tokens notes what a connection field says.
func (f *framing) tokens(v []byte) {
	for len(v) > 0 {
		var token exchange.View
		if token, v = cutToken(v); len(token) == 0 {
			continue
		}
		switch {
		case token.EqualFold("close"):
			f.close = true
		case token.EqualFold("keep-alive"):
			f.keepAlive = true
		case token.EqualFold("upgrade"):
			f.wantsUp = true
		default:
			f.named = true
			f.reserved = f.reserved || reserved(token)
		}
	}
}

// reserved says whether a request whose connection field names this is refused: who names host, or what is said of the client, wants the proxies on
// its way to disagree about it.
func reserved(token exchange.View) bool {
	return bytes.IndexByte(token, ':') >= 0 || token.EqualFold("host") || token.EqualFold("x-forwarded-for") || token.EqualFold("x-forwarded-host") ||
		token.EqualFold("x-forwarded-proto")
}

// cutToken returns the first element of a comma-separated list and the rest.
func cutToken(v []byte) (token exchange.View, rest []byte) {
	if i := bytes.IndexByte(v, ','); i >= 0 {
		return trim(v[:i]), v[i+1:]
	}
	return trim(v), nil
}

// upgrades says whether a request asks for another protocol that may be passed on.
func (f *framing) upgrades() bool {
	return f.wantsUp && f.upgrade != nil && !f.upgrade.EqualFold("h2c") && !f.http10 && !f.chunked && f.length <= 0
}

// hasToken says whether a comma-separated list has an element.
func hasToken(v []byte, want string) bool {
	for len(v) > 0 {
		var token exchange.View
		if token, v = cutToken(v); token.EqualFold(want) {
			return true
		}
	}
	return false
}

// strip removes the fields that the connection field names, and that field. A request that asks for an upgrade keeps it, for routes and policies to judge:
// whoever writes a head leaves it out.
func (f *framing) strip(h *exchange.Head) {
	if !f.connection {
		return
	}
	if f.named {
		h.RemoveIf(func(x exchange.Field) bool { return !x.Name.Is("connection") && namedBy(h, x.Name) })
	}
	if !f.upgrades() || h.Status != 0 {
		h.Remove("connection")
	}
}

// namedBy says whether a connection field of h names a field. What frames the message, and what routes it, cannot be
// named away.
func namedBy(h *exchange.Head, name exchange.View) bool {
	if name.Is("content-length") || name.Is("host") {
		return false
	}
	for _, f := range h.Fields {
		if !f.Name.Is("connection") {
			continue
		}
		for v := []byte(f.Value); len(v) > 0; {
			var token exchange.View
			token, v = cutToken(v)
			if len(token) == len(name) && token.EqualFold(string(name)) {
				return true
			}
		}
	}
	return false
}

// parseRequest reads a whole head, from the request line to the empty line.
func parseRequest(p []byte, h *exchange.Head, f *framing, most int) error {
	i := bytes.IndexByte(p, '\n')
	line := p[:i-1]
	sp := bytes.IndexByte(line, ' ')
	last := bytes.LastIndexByte(line, ' ')
	if sp <= 0 || last <= sp+1 {
		return exchange.ErrProtocol
	}
	for _, c := range line[:sp] {
		if nameLower[c] == 0 {
			return exchange.ErrProtocol
		}
	}
	for _, c := range line[sp+1 : last] {
		if c <= ' ' || c >= 0x7f { // beyond ASCII, a path is written with escapes (RFC 3986, 2)
			return exchange.ErrProtocol
		}
	}
	switch string(line[last+1:]) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		f.http10 = true
	default:
		return exchange.ErrProtocol
	}
	h.Method = line[:sp:sp]
	if err := parseFields(p[i+1:], h, f, most); err != nil {
		return err
	}
	switch {
	case f.reserved:
		return f.bad(whyField)
	case f.chunked && f.length >= 0:
		return f.bad(whyBoth)
	case f.chunked && f.http10:
		return f.bad(whyEncoding)
	}
	if err := parseTarget(line[sp+1:last:last], h, f); err != nil {
		return err
	}
	f.strip(h)
	return nil
}

// parseTarget splits the request target into authority and path; the host field leaves the fields.
func parseTarget(t exchange.View, h *exchange.Head, f *framing) error {
	host := h.Get("host")
	switch {
	case f.hosts > 1:
		return f.bad(whyHosts)
	case f.hosts == 1:
		h.Remove("host")
	case !f.http10:
		return f.bad(whyHost)
	}
	h.Authority = host
	switch {
	case h.Method.Is("CONNECT"):
		h.Authority = t
	case t[0] == '/', t.Is("*") && h.Method.Is("OPTIONS"):
		h.Path = t
	default:
		if parseAbsolute(t, h) != nil {
			return f.bad(whyTarget)
		}
	}
	for _, c := range h.Authority {
		if !authorityByte(c) {
			return f.bad(whyTarget)
		}
	}
	return nil
}

// parseAbsolute reads http://authority/path; its authority wins over the host field.
func parseAbsolute(t exchange.View, h *exchange.Head) error {
	i := bytes.Index(t, []byte("://"))
	if i < 0 || !t[:i].EqualFold("http") && !t[:i].EqualFold("https") {
		return exchange.ErrProtocol
	}
	rest := t[i+3:]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	h.Authority = rest[:end]
	switch {
	case end == 0:
		return exchange.ErrProtocol
	case end == len(rest):
		h.Path = rootPath
	case rest[end] == '?':
		h.Path = h.Append(func(dst []byte) []byte { return append(append(dst, '/'), rest[end:]...) })
	default:
		h.Path = rest[end:]
	}
	return nil
}

// rootPath is never written.
var rootPath = exchange.View("/")

// authorityByte says what may stand in an authority: no user part, no delimiters of other parts.
func authorityByte(c byte) bool {
	switch c {
	case '/', '?', '#', '@', '\\', '"', '<', '>', '^', '`', '{', '|', '}', ',':
		return false
	}
	return c > ' ' && c < 0x7f
}

// parseResponse reads a whole head, from the status line to the empty line.
func parseResponse(p []byte, h *exchange.Head, f *framing, most int) error {
	i := bytes.IndexByte(p, '\n')
	line := p[:i-1]
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return exchange.ErrProtocol
	}
	switch line[7] {
	case '1':
	case '0':
		f.http10 = true
	default:
		return exchange.ErrProtocol
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return exchange.ErrProtocol
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 || h.Status > 599 && h.Status != 999 {
		return exchange.ErrProtocol
	}
	for _, c := range line[12:] {
		if !valueByte[c] {
			return exchange.ErrProtocol
		}
	}
	if err := parseFields(p[i+1:], h, f, most); err != nil {
		return err
	}
	if f.chunked && (f.length >= 0 || f.http10) { // HTTP/1.0 has no chunks (RFC 9112, 6.1)
		return exchange.ErrProtocol
	}
	f.strip(h)
	return nil
}

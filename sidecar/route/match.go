package route

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

// Match returns the first route that x takes and its virtual host; either is nil where there is none.
func (t *Table) Match(x *exchange.Exchange) (*VirtualHost, *Route) {
	return t.host(x.Request.Authority).match(x)
}

// Last is what the last request was matched to. On one connection the next is most often for the same host.
type Last struct {
	table     *Table
	authority []byte
	vhost     *VirtualHost
}

// MatchAfter is Match for who keeps what was found last.
func (t *Table) MatchAfter(x *exchange.Exchange, last *Last) (*VirtualHost, *Route) {
	if last.table != t || string(last.authority) != string(x.Request.Authority) {
		last.vhost = t.host(x.Request.Authority)
		last.table, last.authority = t, append(last.authority[:0], x.Request.Authority...)
	}
	return last.vhost.match(x)
}

func (v *VirtualHost) match(x *exchange.Exchange) (*VirtualHost, *Route) {
	if v == nil {
		return nil, nil
	}
	path, query := splitPath(x.Request.Path)
	for i, r := range v.routes {
		if v.hints[i].excludes(path) {
			continue
		}
		if r.match.miss(x, path, query).part == met {
			return v, r
		}
	}
	return v, nil
}

// hint is how the path begins that a route wants. Those of a host stand together: most routes that do not take a request are passed over without being
// looked at, each of which would be somewhere else in memory.
type hint struct {
	begins [15]byte
	n      uint8 // bytes of it; 0: any path will do
}

// hint says what is known of m's paths without asking it.
func (m *matcher) hint() (h hint) {
	switch m.kind {
	case Exact, Prefix, SegmentPrefix:
		if !m.fold {
			h.n = uint8(copy(h.begins[:], m.path))
		}
	}
	return h
}

func (h *hint) excludes(path exchange.View) bool {
	n := int(h.n)
	return len(path) < n || string(path[:n]) != string(h.begins[:n])
}

// host finds the virtual host of an authority: exact, longest suffix, longest prefix, any. ASCII case is ignored, and the
// port where the table says so. On demand, one that was not asked for is unasked.
func (t *Table) host(authority exchange.View) *VirtualHost {
	if t.ignorePort {
		authority = withoutPort(authority)
	}
	var space [256]byte
	host := appendLower(space[:0], authority)
	if v := t.exact[string(host)]; v != nil {
		return v
	}
	if t.onDemand {
		if v, known := t.asked[string(host)]; known {
			return v
		}
		if askable(host) {
			return unasked
		}
	}
	return t.wild(host)
}

// wild finds the virtual host of a host that is nowhere spelled out.
func (t *Table) wild(host []byte) *VirtualHost {
	for _, w := range t.suffixes {
		if len(host) > len(w.fixed) && string(host[len(host)-len(w.fixed):]) == w.fixed {
			return w.vhost
		}
	}
	for _, w := range t.prefixes {
		if len(host) > len(w.fixed) && string(host[:len(w.fixed)]) == w.fixed {
			return w.vhost
		}
	}
	return t.any
}

// withoutPort cuts ":port" off an authority; an IPv6 address keeps its brackets.
func withoutPort(a exchange.View) exchange.View {
	i := bytes.LastIndexByte(a, ':')
	if i < 0 || bytes.IndexByte(a[i:], ']') >= 0 {
		return a
	}
	for _, c := range a[i+1:] {
		if c < '0' || c > '9' {
			return a
		}
	}
	return a[:i]
}

func appendLower(dst, src []byte) []byte {
	for _, c := range src {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func splitPath(p exchange.View) (path, query exchange.View) {
	if i := bytes.IndexByte(p, '?'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return p, nil
}

// matcher is a compiled Match.
type matcher struct {
	kind     PathKind
	path     string
	fold     bool
	regex    *regexp.Regexp
	headers  Headers
	query    []queryMatcher
	grpc     bool
	fraction *uint32
}

func newMatcher(c *Match) (matcher, error) {
	m := matcher{kind: c.PathKind, path: c.Path, fold: c.IgnoreCase, grpc: c.GRPC, fraction: c.Fraction}
	if c.PathKind == Regex {
		var err error
		if m.regex, err = fullRegex(c.Path); err != nil {
			return m, fmt.Errorf("path: %w", err)
		}
	}
	if c.PathKind == SegmentPrefix {
		m.path = strings.TrimRight(c.Path, "/")
	}
	headers, err := NewHeaders(c.Headers)
	if err != nil {
		return m, fmt.Errorf("headers%w", err)
	}
	m.headers = headers
	for i, q := range c.Query {
		s, err := newStringMatcher(&q.Match)
		if err != nil {
			return m, fmt.Errorf("query[%d].%w", i, err)
		}
		m.query = append(m.query, queryMatcher{q.Name, s})
	}
	return m, nil
}

// fullRegex compiles an RE2 pattern that must match the whole text.
func fullRegex(p string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(p); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + p + `)\z`)
}

// miss is the first condition that a request does not meet; the zero miss: it meets them all.
type miss struct {
	part  part
	index int // of a header or parameter
}

// part is a kind of condition.
type part uint8

const (
	met part = iota
	missPath
	missGRPC
	missHeader
	missQuery
	missFraction
)

func (m *matcher) miss(x *exchange.Exchange, path, query exchange.View) miss {
	switch {
	case !m.matchesPath(x, path):
		return miss{part: missPath}
	case m.grpc && !x.GRPC:
		return miss{part: missGRPC}
	}
	for i := range m.headers {
		if !m.headers[i].matches(&x.Request) {
			return miss{missHeader, i}
		}
	}
	for i := range m.query {
		if !m.query[i].matches(query) {
			return miss{missQuery, i}
		}
	}
	if m.fraction != nil && rand.Uint32N(1_000_000) >= *m.fraction {
		return miss{part: missFraction}
	}
	return miss{}
}

func (m *matcher) matchesPath(x *exchange.Exchange, path exchange.View) bool {
	switch m.kind {
	case Exact:
		return m.equal(path, m.path)
	case SegmentPrefix:
		n := len(m.path)
		return len(path) >= n && m.equal(path[:n], m.path) && (len(path) == n || path[n] == '/')
	case Regex:
		return m.regex.Match(path)
	case ConnectRequests:
		return x.Request.Method.Is("CONNECT")
	}
	return len(path) >= len(m.path) && m.equal(path[:len(m.path)], m.path)
}

func (m *matcher) equal(v exchange.View, s string) bool {
	if m.fold {
		return v.EqualFold(s)
	}
	return v.Is(s)
}

// Headers are compiled HeaderMatches.
type Headers []headerMatcher

// NewHeaders compiles matches.
func NewHeaders(c []HeaderMatch) (Headers, error) {
	var out Headers
	for i := range c {
		s, err := newStringMatcher(&c[i].Match)
		if err != nil {
			return nil, fmt.Errorf("[%d].%w", i, err)
		}
		out = append(out, headerMatcher{c[i], s})
	}
	return out, nil
}

// Any says whether one of them matches.
func (m Headers) Any(h *exchange.Head) bool {
	for i := range m {
		if m[i].matches(h) {
			return true
		}
	}
	return false
}

type headerMatcher struct {
	HeaderMatch
	value stringMatcher
}

func (m *headerMatcher) matches(h *exchange.Head) bool {
	if !m.value.present && h.Count(m.Name) > 1 {
		return m.any(h) != m.Invert
	}
	v, found := lookup(h, m.Name)
	if m.value.present {
		return ((found || m.MissingAsEmpty) != m.Absent) != m.Invert
	}
	if !found && !m.MissingAsEmpty {
		// As Envoy has it: a missing header matches no value, and so does match its inversion.
		return m.Invert
	}
	return m.value.matches(v) != m.Invert
}

// any says whether one of several lines matches. Each is judged on its own, as Envoy does.
func (m *headerMatcher) any(h *exchange.Head) bool {
	for i := range h.Fields {
		if string(h.Fields[i].Name) == m.Name && m.value.matches(h.Fields[i].Value) {
			return true
		}
	}
	return false
}

// lookup returns a header's value; several lines are joined, which alone allocates.
func lookup(h *exchange.Head, name string) (exchange.View, bool) {
	if name != "" && name[0] == ':' {
		v := pseudo(h, name)
		return v, v != nil
	}
	if name == "host" {
		return h.Authority, h.Authority != nil
	}
	var first exchange.View
	var space []byte
	n := 0
	for i := range h.Fields {
		if string(h.Fields[i].Name) != name {
			continue
		}
		switch n++; n {
		case 1:
			first = h.Fields[i].Value
			continue
		case 2:
			space = append(space, first...)
		}
		space = append(append(space, ','), h.Fields[i].Value...)
	}
	if n > 1 {
		return space, true
	}
	return first, n == 1
}

func pseudo(h *exchange.Head, name string) exchange.View {
	switch name {
	case ":method":
		return h.Method
	case ":authority":
		return h.Authority
	case ":scheme":
		return h.Scheme
	case ":path":
		return h.Path
	case ":status":
		if h.Status != 0 {
			return strconv.AppendInt(nil, int64(h.Status), 10)
		}
	}
	return nil
}

// stringMatcher is a compiled StringMatch.
type stringMatcher struct {
	present bool
	value   match.String
}

func newStringMatcher(c *StringMatch) (stringMatcher, error) {
	if c.Kind == StringPresent {
		return stringMatcher{present: true}, nil
	}
	kinds := [...]match.Kind{match.Exact, match.Prefix, match.Suffix, match.Contains, match.Regex}
	value, err := match.New(match.Config{Kind: kinds[c.Kind], Value: c.Value, IgnoreCase: c.IgnoreCase})
	if err != nil {
		return stringMatcher{}, fmt.Errorf("value: %w", err)
	}
	return stringMatcher{value: value}, nil
}

func (m *stringMatcher) matches(v exchange.View) bool { return m.present || m.value.MatchBytes(v) }

type queryMatcher struct {
	name  string
	value stringMatcher
}

// matches compares the first value of the parameter.
func (m *queryMatcher) matches(query exchange.View) bool {
	v, found := m.find(query)
	return found && m.value.matches(v)
}

// find returns the first value of the parameter; names and values are percent-decoded.
func (m *queryMatcher) find(query exchange.View) (exchange.View, bool) {
	for len(query) > 0 {
		var pair exchange.View
		pair, query = cut(query, '&')
		k, v := cut(pair, '=')
		if unescape(k).Is(m.name) {
			return unescape(v), true
		}
	}
	return nil, false
}

// unescape decodes %XX, and allocates where there is any; broken escapes stay as they are.
func unescape(src exchange.View) exchange.View {
	if bytes.IndexByte(src, '%') < 0 {
		return src
	}
	var dst []byte
	for i := 0; i < len(src); i++ {
		if src[i] == '%' && i+2 < len(src) && exchange.HexDigit(src[i+1]) >= 0 && exchange.HexDigit(src[i+2]) >= 0 {
			dst = append(dst, byte(exchange.HexDigit(src[i+1])<<4|exchange.HexDigit(src[i+2])))
			i += 2
			continue
		}
		dst = append(dst, src[i])
	}
	return dst
}

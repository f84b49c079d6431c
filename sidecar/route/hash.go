package route

import (
	"bytes"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// HashKind is what a HashPolicy reads.
type HashKind uint8

// The kinds of hash policy.
const (
	HashHeader HashKind = iota
	HashCookie
	HashSourceIP
	HashQuery
)

// HashPolicy is one source of the number by which hashing balancers choose a host. A request without what it reads has none.
type HashPolicy struct {
	Kind     HashKind
	Name     string  // of the header (lower case), cookie or query parameter
	Cookie   *Cookie // what to give to a client without the cookie; nil: nothing
	Terminal bool    // where there is a number by now, later policies do not count
}

// Cookie is how a cookie is to be kept.
type Cookie struct {
	TTL        time.Duration // whole seconds count; 0: as long as the client's session
	Path       string
	Attributes [][2]string // name, value; a value may be empty
}

// hashPolicy is a compiled HashPolicy.
type hashPolicy struct {
	HashPolicy
	suffix string // of the cookie, after its value
}

func newHashPolicies(all []HashPolicy) []hashPolicy {
	var out []hashPolicy
	for _, p := range all {
		made := hashPolicy{HashPolicy: p}
		if p.Cookie != nil {
			made.suffix = p.Cookie.suffix()
		}
		out = append(out, made)
	}
	return out
}

func (c *Cookie) suffix() string {
	var b strings.Builder
	if s := int64(c.TTL / time.Second); s != 0 {
		fmt.Fprintf(&b, "; Max-Age=%d", s)
	}
	if c.Path != "" {
		b.WriteString("; Path=" + c.Path)
	}
	for _, a := range c.Attributes {
		b.WriteString("; " + a[0])
		if a[1] != "" {
			b.WriteString("=" + a[1])
		}
	}
	b.WriteString("; HttpOnly")
	return b.String()
}

// Hash combines what the route's policies make of x.Request, all as Envoy does, so that both send a request to the same host. given: one of
// them applies. mints: the client lacks a cookie that Mint must give it.
func (r *Route) Hash(x *exchange.Exchange) (hash uint64, given, mints bool) {
	for i := range r.hash {
		p := &r.hash[i]
		if n, ok := p.hash(x); ok {
			hash, given = bits.RotateLeft64(hash, 1)^n, true
			mints = mints || p.mints(x)
		}
		if p.Terminal && given {
			break
		}
	}
	return hash, given, mints
}

func (p *hashPolicy) hash(x *exchange.Exchange) (uint64, bool) {
	switch p.Kind {
	case HashCookie:
		if v := x.Request.Cookie(p.Name); len(v) > 0 {
			return xxhash.Sum64(v), true
		}
		if p.Cookie == nil {
			return 0, false
		}
		var space [16]byte
		return xxhash.Sum64(hex(space[:0], connectionHash(x.Conn))), true
	case HashSourceIP:
		return HashAddr(x.Remote), x.Remote.IsValid()
	case HashQuery:
		_, query := splitPath(x.Request.Path)
		v, ok := parameter(query, p.Name)
		return xxhash.Sum64(v), ok
	}
	return headerHash(&x.Request, p.Name)
}

// HashAddr is the hash of an address, as of every source_ip policy.
func HashAddr(a netip.Addr) uint64 {
	var space [64]byte
	return xxhash.Sum64(a.Unmap().AppendTo(space[:0]))
}

// connectionHash stands for a client that has no cookie yet: its connection, so that requests on their way at the same time agree.
func connectionHash(c *exchange.Connection) uint64 {
	var space [128]byte
	return xxhash.Sum64(c.Destination.AppendTo(c.Source.AppendTo(space[:0])))
}

func (p *hashPolicy) mints(x *exchange.Exchange) bool {
	return p.Kind == HashCookie && p.Cookie != nil && len(x.Request.Cookie(p.Name)) == 0
}

// Mint adds to x.Response the cookies that the request lacked.
func (r *Route) Mint(x *exchange.Exchange) {
	given := false
	for i := range r.hash {
		p := &r.hash[i]
		if p.mints(x) {
			h := &x.Response
			h.AddView(setCookie, h.Append(func(dst []byte) []byte {
				dst = append(append(dst, p.Name...), `="`...)
				return append(append(hex(dst, connectionHash(x.Conn)), '"'), p.suffix...)
			}))
		}
		if _, ok := p.hash(x); ok || given {
			if given = true; p.Terminal {
				return
			}
		}
	}
}

// setCookie is never written.
var setCookie = exchange.View("set-cookie")

// hex appends 16 digits.
func hex(dst []byte, n uint64) []byte {
	for width := n | 1; width < 1<<60; width <<= 4 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, n, 16)
}

// headerHash hashes the values of a header in their order of bytes, so that the order of its lines does not count.
func headerHash(h *exchange.Head, name string) (uint64, bool) {
	if n := h.Count(name); n <= 1 {
		v, ok := lookup(h, name)
		return xxhash.Sum64(v), ok
	}
	var space [8]exchange.View
	values := space[:0]
	for i := range h.Fields {
		if string(h.Fields[i].Name) == name {
			values = append(values, h.Fields[i].Value)
		}
	}
	slices.SortFunc(values, func(a, b exchange.View) int { return bytes.Compare(a, b) })
	var d xxhash.Digest
	hash := uint64(0)
	for _, v := range values {
		d.ResetWithSeed(hash)
		_, _ = d.Write(v)
		hash = d.Sum64()
	}
	return hash, true
}

// parameter returns the first value of a query parameter, as it was sent.
func parameter(query exchange.View, name string) (exchange.View, bool) {
	for len(query) > 0 {
		var pair exchange.View
		pair, query = cut(query, '&')
		if k, v := cut(pair, '='); k.Is(name) {
			return v, true
		}
	}
	return nil, false
}

func cut(v exchange.View, at byte) (before, after exchange.View) {
	if i := bytes.IndexByte(v, at); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, nil
}

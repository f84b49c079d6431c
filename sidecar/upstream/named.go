package upstream

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// poolKey tells a host's pools apart: connections may be shared by requests of one protocol and, where the server's name is the request's
// host, of one host; where connections tell whose they are, of one client's connection.
type poolKey struct {
	proto exchange.Protocol
	name  string // lower case, without port; empty: the TLS setting alone says it
	// client is clientOf, where connections begin with a PROXY header.
	client string
}

// hostOf returns an authority's host as a server's name: lower case, without port; empty for addresses, which are no names (RFC 6066, section 3).
func hostOf(authority exchange.View) string {
	host, _, _ := strings.Cut(string(authority), ":")
	if _, err := netip.ParseAddr(host); err == nil || strings.HasPrefix(host, "[") {
		return ""
	}
	return strings.ToLower(host)
}

// poolOf returns the pool of a server's name or a client, made on demand. These are many, and clients choose the names: sweep forgets those that are empty.
func (h *Host) poolOf(f *face, k poolKey) *pool {
	h.mu.Lock()
	old := h.named[k]
	if old != nil && old.serves(f, k) {
		h.mu.Unlock()
		return old
	}
	if h.named == nil {
		h.named = map[poolKey]*pool{}
	}
	p := &pool{host: h, face: f, poolKey: k, retired: h.retired}
	h.named[k] = p
	h.mu.Unlock()
	if old != nil {
		old.retire()
	}
	return p
}

// all lists the host's pools; h.mu is held.
func (h *Host) all() []*pool {
	out := slices.Collect(maps.Values(h.named))
	if ps := h.pools.Load(); ps != nil {
		out = append(out, *ps...)
	}
	return out
}

// forget drops the empty pool of a server's name. Whoever got hold of it just before still may use it: its connections close after use.
func (h *Host) forget(p *pool) {
	h.mu.Lock()
	kept := h.named[p.poolKey] != p
	if !kept {
		delete(h.named, p.poolKey)
	}
	h.mu.Unlock()
	if !kept {
		p.retire()
	}
}

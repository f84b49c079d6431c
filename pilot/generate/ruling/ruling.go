// Package ruling finds the VirtualServices that rule a host. Which of them are for a proxy is decided before.
package ruling

import (
	"maps"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Ruling says which VirtualServices rule which host in the mesh, each protocol's apart.
type Ruling struct {
	HTTP, TLS, TCP Rulers
	all            Rulers
}

// Rulers are the VirtualServices that have rules of one protocol.
type Rulers struct {
	named map[string][]*model.VirtualService // by host, the first one first
	wild  []string                           // those hosts that are wildcards, most specific first
	rank  map[*model.VirtualService]int
}

// Of sorts VirtualServices, the first of which wins.
func Of(virtuals []*model.VirtualService) Ruling {
	var out Ruling
	onlyHTTP := true
	for _, vs := range virtuals {
		onlyHTTP = onlyHTTP && len(vs.HTTP) > 0
		if len(vs.HTTP) > 0 {
			out.HTTP.add(vs)
		}
		if len(vs.TLS) > 0 {
			out.TLS.add(vs)
		}
		if len(vs.TCP) > 0 {
			out.TCP.add(vs)
		}
	}
	if out.all = out.HTTP; onlyHTTP {
		return out
	}
	out.all = Rulers{}
	for _, vs := range virtuals {
		out.all.add(vs)
	}
	return out
}

func (r *Rulers) add(vs *model.VirtualService) {
	if r.named == nil {
		r.named, r.rank = map[string][]*model.VirtualService{}, map[*model.VirtualService]int{}
	}
	r.rank[vs] = len(r.rank)
	for _, host := range vs.Hosts {
		if isWild(host) && r.named[host] == nil {
			at, _ := slices.BinarySearchFunc(r.wild, host, func(a, b string) int { return len(b) - len(a) })
			r.wild = slices.Insert(r.wild, at, host)
		}
		r.named[host] = append(r.named[host], vs)
	}
}

func isWild(host string) bool { return strings.HasPrefix(host, "*") }

// Hosts are all hosts that have rules, sorted.
func (r *Rulers) Hosts() []string {
	return slices.Sorted(maps.Keys(r.named))
}

// Named returns the first VirtualService that names a host and has rules for who asks, or nil.
func (r *Rulers) Named(host string, has func(*model.VirtualService) bool) *model.VirtualService {
	for _, vs := range r.named[host] {
		if has(vs) {
			return vs
		}
	}
	return nil
}

// Service returns the VirtualService with the http rules for a service, or nil: one that names its host; where none does, the first with the most specific
// wildcard around it. Where that one has no rules for who asks, no other's hold: nor where it has none but for tls or tcp, as in Istio.
func (r *Ruling) Service(host string, has func(*model.VirtualService) bool) *model.VirtualService {
	if !isWild(host) && r.all.named[host] != nil {
		return r.HTTP.Named(host, has)
	}
	for _, pattern := range r.all.wild {
		if first := r.all.named[pattern][0]; naming.Covers(pattern, host) {
			if len(first.HTTP) > 0 && has(first) {
				return first
			}
			return nil
		}
	}
	return nil
}

// All returns every VirtualService that names a service's host, a wildcard around it, or part of one that is a wildcard itself: the first one first.
func (r *Rulers) All(host string) []*model.VirtualService {
	out := slices.Clone(r.named[host])
	for _, pattern := range r.wild {
		if pattern != host && naming.Covers(pattern, host) {
			out = append(out, r.named[pattern]...)
		}
	}
	if isWild(host) {
		for part, list := range r.named {
			if part != host && naming.Covers(host, part) {
				out = append(out, list...)
			}
		}
	}
	slices.SortFunc(out, func(a, b *model.VirtualService) int { return r.rank[a] - r.rank[b] })
	return slices.Compact(out)
}

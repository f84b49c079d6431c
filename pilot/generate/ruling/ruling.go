// Package ruling finds the VirtualService that rules a host. Which of them are for a proxy is decided before.
package ruling

import (
	"strings"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Ruling says which VirtualService rules which host in the mesh. The rules of each protocol are found apart: one that has only tcp leaves
// another's http in force.
type Ruling struct{ HTTP, TLS, TCP Rulers }

// Rulers are the VirtualServices that have rules of one protocol: the first for each host, and wildcards by how specific they are.
type Rulers struct {
	Exact map[string]*model.VirtualService
	Wild  []WildHost // most specific first
}

// WildHost is a host with a wildcard, and who rules it.
type WildHost struct {
	Pattern string
	vs      *model.VirtualService
}

// Of sorts VirtualServices, the first of which wins.
func Of(virtuals []*model.VirtualService) Ruling {
	var out Ruling
	for _, vs := range virtuals {
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
	return out
}

func (r *Rulers) add(vs *model.VirtualService) {
	if r.Exact == nil {
		r.Exact = map[string]*model.VirtualService{}
	}
	for _, host := range vs.Hosts {
		switch {
		case strings.HasPrefix(host, "*"):
			r.Wild = insertWild(r.Wild, WildHost{host, vs})
		case r.Exact[host] == nil:
			r.Exact[host] = vs
		}
	}
}

// insertWild keeps the list most specific first, the older first among equals.
func insertWild(list []WildHost, w WildHost) []WildHost {
	at := len(list)
	for at > 0 && len(list[at-1].Pattern) < len(w.Pattern) {
		at--
	}
	list = append(list, WildHost{})
	copy(list[at+1:], list[at:])
	list[at] = w
	return list
}

// Find returns the VirtualService that rules a host, or nil.
func (r *Rulers) Find(host string) *model.VirtualService {
	if vs := r.Exact[host]; vs != nil {
		return vs
	}
	for _, w := range r.Wild {
		if naming.Covers(w.Pattern, host) {
			return w.vs
		}
	}
	return nil
}

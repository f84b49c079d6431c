package generate

import (
	"strings"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// ruling says which VirtualService rules which host in the mesh. The rules of each protocol are found apart: one that has only tcp leaves
// another's http in force.
type ruling struct{ http, tls, tcp rulers }

// rulers are the VirtualServices that have rules of one protocol: the first for each host, and wildcards by how specific they are.
type rulers struct {
	exact map[string]*model.VirtualService
	wild  []wildHost // most specific first
}

type wildHost struct {
	pattern string
	vs      *model.VirtualService
}

func newRuling(virtuals []*model.VirtualService) ruling {
	var out ruling
	for _, vs := range virtuals {
		if len(vs.HTTP) > 0 {
			out.http.add(vs)
		}
		if len(vs.TLS) > 0 {
			out.tls.add(vs)
		}
		if len(vs.TCP) > 0 {
			out.tcp.add(vs)
		}
	}
	return out
}

func (r *rulers) add(vs *model.VirtualService) {
	if r.exact == nil {
		r.exact = map[string]*model.VirtualService{}
	}
	for _, host := range vs.Hosts {
		switch {
		case strings.HasPrefix(host, "*"):
			r.wild = insertWild(r.wild, wildHost{host, vs})
		case r.exact[host] == nil:
			r.exact[host] = vs
		}
	}
}

// insertWild keeps the list most specific first, the older first among equals.
func insertWild(list []wildHost, w wildHost) []wildHost {
	at := len(list)
	for at > 0 && len(list[at-1].pattern) < len(w.pattern) {
		at--
	}
	list = append(list, wildHost{})
	copy(list[at+1:], list[at:])
	list[at] = w
	return list
}

// find returns the VirtualService that rules a host, or nil.
func (r *rulers) find(host string) *model.VirtualService {
	if vs := r.exact[host]; vs != nil {
		return vs
	}
	for _, w := range r.wild {
		if naming.Covers(w.pattern, host) {
			return w.vs
		}
	}
	return nil
}

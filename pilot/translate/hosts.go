package translate

import (
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
)

// entryHosts joins the hosts of ServiceEntries of one namespace that are one service.
type entryHosts struct {
	*run
	first  map[model.Name]firstHost
	joined map[model.Name]int // their places among the services
}

// firstHost is the oldest entry's service of a host.
type firstHost struct {
	at    int
	terms string
}

func (r *run) entryHosts() *entryHosts {
	return &entryHosts{r, make(map[model.Name]firstHost, len(r.in.ServiceEntries)), map[model.Name]int{}}
}

// add puts a host of an entry among the services, the oldest entry's first.
func (h *entryHosts) add(terms string, svc *model.Service) {
	key := model.Name{Namespace: svc.Namespace, Name: svc.Host}
	first, known := h.first[key]
	if known && first.terms == terms && h.snap.Services[first.at].From != svc.From {
		h.snap.Services[first.at] = registry.Join(h.snap.Services[first.at], svc)
		h.joined[key] = first.at
		return
	}
	if !known {
		h.first[key] = firstHost{len(h.snap.Services), terms}
	}
	h.snap.Services = append(h.snap.Services, svc)
}

// finish keeps the pointers of joined hosts that did not change.
func (h *entryHosts) finish() {
	for key, at := range h.joined {
		h.snap.Services[at] = h.memo.joined.intern(key, h.snap.Services[at])
	}
}

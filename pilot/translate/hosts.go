package translate

import (
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/allocate"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
)

// entryHosts joins the hosts of ServiceEntries of one namespace that are one service, and what is looked up for those that are not.
type entryHosts struct {
	*run
	first  map[model.Name]firstHost
	joined map[model.Name]int   // their places among the services
	apart  map[model.Name][]int // the places of a host's services beside its first
}

// firstHost is the oldest entry's service of a host.
type firstHost struct {
	at    int
	terms string
}

func (r *run) entryHosts() *entryHosts {
	return &entryHosts{r, make(map[model.Name]firstHost, len(r.in.ServiceEntries)), map[model.Name]int{}, map[model.Name][]int{}}
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
	if known {
		h.apart[key] = append(h.apart[key], len(h.snap.Services))
	} else {
		h.first[key] = firstHost{len(h.snap.Services), terms}
	}
	h.snap.Services = append(h.snap.Services, svc)
}

// finish lets services of a host that stayed apart look up what all of them do, and keeps the pointers of hosts that did not change.
func (h *entryHosts) finish() {
	for key, places := range h.apart {
		h.lookups(append([]int{h.first[key].at}, places...))
	}
	for _, at := range h.joined {
		svc := h.snap.Services[at]
		h.snap.Services[at] = h.memo.joined.intern(hostOf(svc), svc)
	}
}

func hostOf(svc *model.Service) allocate.Host { return allocate.Host{Entry: svc.From, Host: svc.Host} }

// lookups joins what the services at some places look up.
func (h *entryHosts) lookups(places []int) {
	list := make([]*model.Service, len(places))
	for i, at := range places {
		list[i] = h.snap.Services[at]
	}
	for i, svc := range registry.JoinLookups(list) {
		if svc != list[i] {
			h.snap.Services[places[i]] = h.memo.joined.intern(hostOf(svc), svc)
		}
	}
}

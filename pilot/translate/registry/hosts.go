package registry

import "github.com/heddle-mesh/heddle/pilot/model"

// Hosts are the services of ServiceEntries. It joins those of one host and namespace that are one service, and what is looked up for those that are not.
type Hosts struct {
	services []*model.Service
	first    map[model.Name]firstHost
	joined   map[int]bool         // places of services that are no entry's alone
	apart    map[model.Name][]int // the places of a host's services beside its first
}

// firstHost is the oldest entry's service of a host.
type firstHost struct {
	at    int
	terms string
}

// NewHosts returns Hosts of no entry; n is how many there may be.
func NewHosts(n int) *Hosts {
	return &Hosts{first: make(map[model.Name]firstHost, n), joined: map[int]bool{}, apart: map[model.Name][]int{}}
}

// Add puts a host of an entry of some Terms among the services, the oldest entry's first.
func (h *Hosts) Add(terms string, svc *model.Service) {
	key := model.Name{Namespace: svc.Namespace, Name: svc.Host}
	first, known := h.first[key]
	if known && first.terms == terms && h.services[first.at].From != svc.From {
		h.services[first.at] = Join(h.services[first.at], svc)
		h.joined[first.at] = true
		return
	}
	if known {
		h.apart[key] = append(h.apart[key], len(h.services))
	} else {
		h.first[key] = firstHost{len(h.services), terms}
	}
	h.services = append(h.services, svc)
}

// Services are all, in the order in which they were added; those that are no entry's alone as keep returns them.
func (h *Hosts) Services(keep func(*model.Service) *model.Service) []*model.Service {
	for key, places := range h.apart {
		h.lookups(append([]int{h.first[key].at}, places...))
	}
	for at := range h.joined {
		h.services[at] = keep(h.services[at])
	}
	return h.services
}

// lookups joins what the services at some places look up.
func (h *Hosts) lookups(places []int) {
	list := make([]*model.Service, len(places))
	for i, at := range places {
		list[i] = h.services[at]
	}
	for i, svc := range joinLookups(list) {
		if svc != list[i] {
			h.services[places[i]], h.joined[places[i]] = svc, true
		}
	}
}

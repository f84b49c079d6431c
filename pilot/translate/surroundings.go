package translate

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
)

// neighbours are the WorkloadEntries in force of one namespace, the oldest first. They are never changed, so that those of the same place have the same
// members.
type neighbours struct{ all []*registry.WorkloadEntry }

// list is nil where there are none.
func (n *neighbours) list() []*registry.WorkloadEntry {
	if n == nil {
		return nil
	}
	return n.all
}

// selection is what the services of an entry follow from whose selected endpoints are looked up.
type selection struct {
	entry  *registry.ServiceEntry
	around *neighbours
}

// surroundings are WorkloadEntries by namespace. Namespaces whose members stay keep their place.
type surroundings struct{ by map[string]*neighbours }

// divide takes the WorkloadEntries of the whole mesh, the oldest first.
func (s *surroundings) divide(read []*result[*registry.WorkloadEntry]) {
	last := s.by
	s.by = map[string]*neighbours{}
	for _, res := range read {
		if res.entry.State == report.Refused {
			continue
		}
		namespace := res.value.From.Namespace
		if s.by[namespace] == nil {
			s.by[namespace] = &neighbours{}
		}
		s.by[namespace].all = append(s.by[namespace].all, res.value)
	}
	for namespace, now := range s.by {
		if before := last[namespace]; before != nil && slices.Equal(before.all, now.all) {
			s.by[namespace] = before
		}
	}
}

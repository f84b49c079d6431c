package core

import (
	"hash/maphash"
	"maps"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// Said is where something is by its own label, which says it with dots where a label's value must have no slashes; nowhere if no label says it.
func Said(own map[string]string) model.Locality {
	text, ok := own["topology.istio.io/locality"]
	if !ok {
		text = own["istio-locality"]
	}
	if !strings.Contains(text, "/") {
		text = strings.ReplaceAll(text, ".", "/")
	}
	return values.Locality(text)
}

// Placed adds labels of where something runs to its own, for selectors and subsets. As in Istio, what is known of that wins over what its own say.
func Placed(own map[string]string, where model.Locality, node, cluster string) model.Labels {
	out := make(model.Labels, len(own)+5)
	maps.Copy(out, own)
	for _, l := range [...]struct{ key, value string }{
		{model.LabelRegion, where.Region},
		{model.LabelZone, where.Zone},
		{model.LabelSubzone, where.Subzone},
		{model.LabelCluster, cluster},
		{model.LabelHostname, node},
	} {
		if l.value != "" {
			out[l.key] = l.value
		}
	}
	return out
}

// LabelSets keeps one of equal sets of labels, which replicas on one node have. It serves one caller at a time.
type LabelSets struct {
	seed  maphash.Seed
	known map[uint64]model.Labels
}

// NewLabelSets returns LabelSets that keep nothing.
func NewLabelSets() *LabelSets {
	return &LabelSets{seed: maphash.MakeSeed(), known: map[uint64]model.Labels{}}
}

// One returns the set that is kept of those equal to l. Two that only share their hash stay apart.
func (s *LabelSets) One(l model.Labels) model.Labels {
	var sum uint64
	for k, v := range l {
		sum += maphash.Comparable(s.seed, [2]string{k, v})
	}
	if known, ok := s.known[sum]; ok && maps.Equal(known, l) {
		return known
	}
	s.known[sum] = l
	return l
}

// Bound forgets all sets where there are many more than workloads.
func (s *LabelSets) Bound(workloads int) {
	if len(s.known) > 2*workloads+1000 {
		clear(s.known)
	}
}

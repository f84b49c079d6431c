package core

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heddle-mesh/heddle/pilot/model"
)

func TestLabelsOfPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		own  map[string]string
		at   model.Locality
		node string
		want model.Labels
	}{
		"everything": {map[string]string{"app": "x"}, model.Locality{Region: "r", Zone: "z", Subzone: "s"}, "n", model.Labels{"app": "x",
			model.LabelRegion: "r", model.LabelZone: "z", model.LabelSubzone: "s", model.LabelHostname: "n", model.LabelCluster: "c"}},
		"nothing known": {map[string]string{model.LabelZone: "own", model.LabelHostname: "own", model.LabelNetwork: "own"}, model.Locality{}, "",
			model.Labels{model.LabelZone: "own", model.LabelHostname: "own", model.LabelNetwork: "own", model.LabelCluster: "c"}},
		"what is known wins": {map[string]string{model.LabelZone: "own", model.LabelHostname: "own", model.LabelCluster: "own"}, model.Locality{Zone: "z"}, "n",
			model.Labels{model.LabelZone: "z", model.LabelHostname: "n", model.LabelCluster: "c"}},
		"no labels": {nil, model.Locality{}, "", model.Labels{model.LabelCluster: "c"}},
	} {
		before := fmt.Sprint(c.own)
		if diff := cmp.Diff(c.want, Placed(c.own, c.at, c.node, "c")); diff != "" || fmt.Sprint(c.own) != before {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestSaidPlaces(t *testing.T) {
	for _, c := range []struct {
		own  map[string]string
		want model.Locality
	}{
		{nil, model.Locality{}},
		{map[string]string{"istio-locality": "r.z.s"}, model.Locality{Region: "r", Zone: "z", Subzone: "s"}},
		{map[string]string{"istio-locality": "r"}, model.Locality{Region: "r"}},
		{map[string]string{"istio-locality": "r.1/z.1"}, model.Locality{Region: "r.1", Zone: "z.1"}},
		{map[string]string{"istio-locality": "r", "topology.istio.io/locality": "q.z"}, model.Locality{Region: "q", Zone: "z"}},
		{map[string]string{"istio-locality": "r", "topology.istio.io/locality": ""}, model.Locality{}},
	} {
		if got := Said(c.own); got != c.want {
			t.Errorf("%v: %v; want %v", c.own, got, c.want)
		}
	}
}

func TestEqualLabelsAreOne(t *testing.T) {
	s := NewLabelSets()
	one := func(l model.Labels) string { return fmt.Sprintf("%p", s.One(l)) }
	a := one(model.Labels{"a": "1", "b": "2"})
	if a != one(model.Labels{"b": "2", "a": "1"}) || a == one(model.Labels{"a": "1"}) || a == one(model.Labels{"a": "2", "b": "1"}) {
		t.Error("sets of labels are not told apart by what they hold")
	}
	if s.Bound(0); a != one(model.Labels{"a": "1", "b": "2"}) {
		t.Error("few sets were forgotten")
	}
	for i := range 1001 {
		s.One(model.Labels{"n": fmt.Sprint(i)})
	}
	if s.Bound(0); len(s.known) > 0 {
		t.Errorf("%d sets are kept for no workload", len(s.known))
	}
}

package discovery

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/heddle-mesh/heddle/api/wire"
)

// TestPartialTypes follows a proxy that is told of a type in part, and asks for the rest by name.
func TestPartialTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.unasked = map[string]map[string]bool{wire.TypeCluster: {"fixed": true}}
		for _, name := range []string{"fixed", "a", "b"} {
			w.set(wire.TypeCluster, name, "1")
		}
		l, _ := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*"}})
		l.want("all is what needs no asking", "Cluster fixed=1")
		l.ask(&request{typ: wire.TypeCluster, subscribe: []string{"a", "nowhere"}})
		l.want("what is asked for, there or not", "Cluster a=1 -nowhere")
		if asked := slices.Sorted(maps.Keys(w.asked)); !slices.Equal(asked, []string{"a", "nowhere"}) {
			t.Errorf("the registry knows that %q were asked for", asked)
		}
		w.Take()
		w.set(wire.TypeCluster, "a", "2")
		w.set(wire.TypeCluster, "b", "2")
		w.set(wire.TypeCluster, "fixed", "2")
		w.set(wire.TypeCluster, "nowhere", "1")
		w.tell()
		l.want("changes of what it holds, and what has come to be", "Cluster a=2 fixed=2 nowhere=1")
		w.set(wire.TypeCluster, "nowhere", "")
		w.tell()
		l.want("what is gone", "Cluster -nowhere")
		l.ask(&request{typ: wire.TypeCluster, unsubscribe: []string{"a"}})
		l.want("unsubscribing needs no answer", "")
		w.set(wire.TypeCluster, "a", "3")
		w.set(wire.TypeCluster, "nowhere", "2")
		w.tell()
		l.want("what is not asked for any more is not told", "Cluster nowhere=2")
		l.close()

		l, _ = connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*", "b", "nowhere", "elsewhere"},
			held: map[string]string{"fixed": "2", "b": "1", "nowhere": "2", "a": "2"}})
		l.want("on the next stream only what differs from what it holds", "Cluster b=2 -a -elsewhere")
		l.close()
	})
}

// TestTheRestIsTold holds that a proxy is told of what becomes its own without asking while it is connected, as siblings use it.
func TestTheRestIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.unasked = map[string]map[string]bool{wire.TypeVirtualHost: {}}
		w.set(wire.TypeVirtualHost, "80/a", "1")
		l, _ := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeVirtualHost, subscribe: []string{"*"}})
		l.want("nothing yet", "VirtualHost")
		w.Take()
		w.unasked[wire.TypeVirtualHost]["80/a"] = true
		w.set(wire.TypeVirtualHost, "80/a", "1")
		w.tell()
		l.want("what a sibling uses", "VirtualHost 80/a=1")
		l.close()
	})
}

// TestAnswersComeWithWhatTheyReferTo holds that a question takes one round trip: what the answer refers to is sent before it, once, and is told of
// like all that was asked for.
func TestAnswersComeWithWhatTheyReferTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.unasked = map[string]map[string]bool{wire.TypeVirtualHost: {}, wire.TypeCluster: {}}
		w.needs = map[string]Changes{wire.TypeVirtualHost + " 80/a": {wire.TypeCluster: {"c": true, "gone": true}, wire.TypeEndpoints: {"c": true}}}
		w.set(wire.TypeVirtualHost, "80/a", "1")
		w.set(wire.TypeCluster, "c", "1")
		w.set(wire.TypeEndpoints, "c", "1")
		l, _ := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*"}})
		l.ask(&request{typ: wire.TypeVirtualHost, subscribe: []string{"*"}})
		l.want("nothing without asking", "Cluster; VirtualHost")
		l.ask(&request{typ: wire.TypeVirtualHost, subscribe: []string{"80/a"}})
		l.want("all at once", "Cluster c=1; ClusterLoadAssignment c=1; VirtualHost 80/a=1")
		l.ask(&request{typ: wire.TypeCluster, subscribe: []string{"c", "gone"}})
		l.want("what was sent is not sent again", "Cluster -gone")
		l.ask(&request{typ: wire.TypeEndpoints, subscribe: []string{"c"}})
		l.want("nor are endpoints", "")
		w.Take()
		w.set(wire.TypeCluster, "c", "2")
		w.set(wire.TypeEndpoints, "c", "2")
		w.tell()
		l.want("changes", "Cluster c=2; ClusterLoadAssignment c=2")
		l.ask(&request{typ: wire.TypeEndpoints, unsubscribe: []string{"c"}})
		l.want("unsubscribing needs no answer", "")
		w.set(wire.TypeEndpoints, "c", "3")
		w.tell()
		l.want("what it does not want any more", "")
		l.close()
	})
}

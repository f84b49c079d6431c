package discovery

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
)

// TestAsksOnDemand follows a proxy that asks for what its requests wait for.
func TestAsksOnDemand(t *testing.T) {
	playAs(t, Node{Type: "sidecar", Pod: "p", Namespace: "n", OnDemand: true}, func(t *testing.T, sink *record, c *Client, connect func() *script) {
		sink.ask(c, wire.TypeListener, "10.0.0.1_80")
		s := connect()
		same(t, "what was asked before there was a stream", s.sent(), "Cluster +* node", "Listener +*", "VirtualHost +*", "Listener +10.0.0.1_80")
		s.answer(wire.TypeListener, "1", "-10.0.0.1_80")
		same(t, "its answer", s.sent(), "Listener ack 1")
		if got := sink.lines(); !slices.Equal(got, []string{"Listener -10.0.0.1_80", "commit"}) {
			t.Errorf("what is not there is committed as such: %q", got)
		}
		sink.ask(c, wire.TypeVirtualHost, "80/a")
		same(t, "a question", s.sent(), "VirtualHost +80/a")
		sink.ask(c, wire.TypeCluster, "c") // as what the answer refers to
		same(t, "nothing was answered yet", s.sent())
		s.answer(wire.TypeVirtualHost, "2", "80/a=x")
		same(t, "what the answer refers to", s.sent(), "VirtualHost ack 2", "Cluster +c")
		s.answer(wire.TypeCluster, "3", "c=e")
		same(t, "and what that does", s.sent(), "Cluster ack 3", "ClusterLoadAssignment +e")

		sink.ask(c, wire.TypeVirtualHost, "80/b")
		synctest.Wait()
		time.Sleep(2 * fetchTimeout)
		if got := sink.lines(); slices.Contains(got, "VirtualHost -80/b") || !slices.Contains(got, "ClusterLoadAssignment -e") {
			t.Errorf("a host of which nothing was said counts as unknown, or a cluster's endpoints are waited for: %q", got)
		}
		s.sent()
		close(s.broken)
		next := connect()
		same(t, "on the next stream all that was asked for", next.sent(), "Cluster +* +c has c@3 node", "ClusterLoadAssignment +e", "Listener +* +10.0.0.1_80",
			"VirtualHost +* +80/a +80/b has 80/a@2")
	})
}

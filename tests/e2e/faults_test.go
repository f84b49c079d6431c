package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// TestFaults has things happen under steady load that happen on every cluster. No request fails. TestLongFaults has the others.
func TestFaults(t *testing.T) {
	c := connect(t)
	t.Run("at once", func(t *testing.T) { // each has its own backend
		t.Run("a rolling restart", func(t *testing.T) {
			t.Parallel()
			rolling(t, c, "rolling", 2)
		})
		t.Run("a rolling restart of one replica", func(t *testing.T) {
			t.Parallel()
			rolling(t, c, "single", 1)
		})
		t.Run("connections that the backend closes while they are used", func(t *testing.T) {
			t.Parallel()
			closing(t, c, 15*time.Second)
		})
	})
	t.Run("the control plane goes and comes back", func(t *testing.T) { planeAway(t, c) })
}

// rolling replaces every pod of a Deployment.
func rolling(t *testing.T, c *tour.Cluster, name string, replicas int) {
	r := newTrial(t, c, name, backend{replicas: replicas})
	r.start("/items")
	if err := c.Roll(t.Context(), tour.ShopNamespace, name); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.alone(replicas)
	r.finish(0)
}

// closing POSTs once a second over connections that the backend closes when they are idle for a second: a connection may be closed in the very
// moment in which a request is sent on it. No request arrives twice. One that may have arrived is not sent again, so it fails; one of which nothing
// was sent does not.
func closing(t *testing.T, c *tour.Cluster, lasts time.Duration) {
	r := newTrial(t, c, "closing", backend{environment: "{name: IDLE_TIMEOUT, value: 1s}"})
	client := r.pod(tour.ShopNamespace, "app=client")
	answer, err := c.Ask(t.Context(), client, "client", "client", "-method", "POST", "-body", "{}", "-c", "16", "-pause", "998ms", "-duration", lasts.String(), r.url("/once"))
	if err != nil {
		t.Fatal(err)
	}
	read, err := c.Ask(t.Context(), client, "client", "client", r.url("/once"))
	if err != nil {
		t.Fatal(err)
	}
	var counts struct{ Came, Again int }
	if err := json.Unmarshal([]byte(read.Body), &counts); err != nil {
		t.Fatalf("%v in %q", err, read.Body)
	}
	t.Logf("%s; the backend counted %+v", answer, counts)
	failed := answer.Sent - answer.Codes["200"]
	if counts.Again != 0 || counts.Came < answer.Codes["200"] || counts.Came > answer.Sent {
		t.Errorf("of %s the backend counted %+v", answer, counts)
	}
	lines := r.failures(tour.ShopNamespace, "app=closing")
	if len(lines) != failed {
		t.Errorf("%d requests failed, of which the backend's proxy logged %d", failed, len(lines))
	}
	for _, line := range lines {
		if !strings.Contains(line, " 503 UC ") {
			t.Errorf("a request failed for something else than a connection that was cut: %s", line)
		}
	}
	if failed > answer.Sent/2 { // most connections are seen to be closed in time
		t.Errorf("%d of %d requests failed", failed, answer.Sent)
		r.explain()
	}
}

// planeAway takes both replicas of the control plane away and brings them back.
func planeAway(t *testing.T, c *tour.Cluster) {
	r := newTrial(t, c, "planeless", backend{})
	r.start("/items")
	planeGone(t, c)
	time.Sleep(5 * time.Second) // of an outage
	if err := c.Scale(t.Context(), wire.SystemNamespace, wire.DiscoveryService, 2); err != nil {
		t.Fatal(err)
	}
	r.finish(0)
}

// planeGone takes the control plane away, for the length of the test at most.
func planeGone(t *testing.T, c *tour.Cluster) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Scale(context.Background(), wire.SystemNamespace, wire.DiscoveryService, 2); err != nil {
			t.Error(err)
		}
	})
	if err := c.Scale(t.Context(), wire.SystemNamespace, wire.DiscoveryService, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.PlaneGone(t.Context()); err != nil {
		t.Fatal(err)
	}
}

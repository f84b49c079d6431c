package status

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/distribution"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// replica is a heddled: what it knows of its proxies, and how it tells.
type replica struct {
	name     string
	tracker  *distribution.Tracker
	exchange *Exchange

	mu      sync.Mutex
	proxies []discovery.Progress
}

func newReplica(t *testing.T, kube kubernetes.Interface, name string) *replica {
	r := &replica{name: name}
	r.tracker = distribution.NewTracker(func() []discovery.Progress {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.proxies
	})
	r.exchange = NewExchange(kube, "heddle-system", name, r.tracker, slog.New(slog.NewTextHandler(t.Output(), nil)))
	return r
}

// has gives the replica proxies: "web 3" has reached version 3, "api 3 bad" refused what came with it.
func (r *replica) has(proxies ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proxies = nil
	for _, text := range proxies {
		p := discovery.Progress{Namespace: "shop"}
		var why string
		_, _ = fmt.Sscanf(text, "%s %d %s", &p.Proxy, &p.Reached, &why)
		if p.Proxy += ".shop"; why != "" {
			p.Refusals = []discovery.Refusal{{Type: "Listener", Error: why, After: p.Reached - 1, UpTo: p.Reached}}
		}
		r.proxies = append(r.proxies, p)
	}
}

// run runs the replica's side of the exchange until the test ends or stop is called.
func (r *replica) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.exchange.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// condition describes the one of a type: "True Reason: message".
func (c *cluster) condition(t *testing.T, typ string) string {
	t.Helper()
	for _, item := range c.conditions(t) {
		if m := item.(map[string]any); m["type"] == typ {
			return fmt.Sprintf("%v %v: %v", m["status"], m["reason"], m["message"])
		}
	}
	return ""
}

// TestAcknowledgedByProxiesOfTwoReplicas has two replicas with three proxies, one of which refuses.
func TestAcknowledgedByProxiesOfTwoReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube, c := fake.NewClientset(), newCluster(virtualService(nil))
		one, two := newReplica(t, kube, "h1"), newReplica(t, kube, "h2")
		one.has("web 0", "api 0")
		two.has("db 6 no-such-filter")
		defer one.run(t)()
		defer two.run(t)()
		time.Sleep(2 * tellEvery)
		w := newWriter(t, c, one.exchange.Count)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- one.exchange.Lead(w.Run)(ctx) }()
		r := entry()
		one.tracker.Observe(1, r)
		two.tracker.Observe(7, report.Report{}) // it lags behind, and counts versions of its own
		w.Set(r)
		want := func(when string, after time.Duration, text string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := c.condition(t, Acknowledged); got != text {
				t.Errorf("%s: %q, want %q", when, got, text)
			}
		}
		want("nobody has it", 10*time.Second, "Unknown Pending: acknowledged by 0 of 3 proxies")
		one.has("web 1", "api 1")
		want("the other replica has not seen it", time.Minute, "Unknown Pending: acknowledged by 2 of 3 proxies")
		two.tracker.Observe(8, r)
		two.has("db 8 no-such-filter")
		want("one refuses", 10*time.Second, "False Refused: acknowledged by 2 of 3 proxies\ndb.shop refused what came with it: Listener: no-such-filter")
		two.has("db 9")
		want("it is mended", 10*time.Second, "True Acknowledged: acknowledged by 3 of 3 proxies")
		writes := c.writes.Load()
		two.has("db 9", "late 0")
		want("another comes", 2*time.Minute, "True Acknowledged: acknowledged by 3 of 3 proxies")
		if c.writes.Load() != writes {
			t.Errorf("%d more writes for a proxy that came later", c.writes.Load()-writes)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestRefusalsOfProxiesThatComeLater has an object before any proxy: it counts as acknowledged only by proxies, and only until one refuses it.
func TestRefusalsOfProxiesThatComeLater(t *testing.T) {
	const nobody = "Unknown Pending: no proxy is connected that could acknowledge it; nothing is wrong with it"
	for says, first := range map[string]struct {
		proxies []string
		want    string
	}{
		"after none":          {nil, nobody},
		"after one that took": {[]string{"edge 1"}, "True Acknowledged: acknowledged by 1 of 1 proxies"},
	} {
		t.Run(says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, one := newCluster(virtualService(nil)), newReplica(t, fake.NewClientset(), "h1")
				w, r := newWriter(t, c, one.exchange.Count), entry()
				lead(t, w, func() {
					want := func(when, text string) {
						t.Helper()
						time.Sleep(time.Minute)
						synctest.Wait()
						if got := c.condition(t, Acknowledged); got != text {
							t.Errorf("%s: %q, want %q", when, got, text)
						}
					}
					one.tracker.Observe(1, r)
					w.Set(r)
					want("nobody is there", nobody)
					one.has(first.proxies...)
					want("the first is", first.want)
					one.has("a 1 no-such-filter", "b 1")
					want("one refuses", "False Refused: acknowledged by 1 of 2 proxies\na.shop refused what came with it: Listener: no-such-filter")
					one.has("b 1", "c 0")
					want("it goes, and another comes", "Unknown Pending: acknowledged by 1 of 2 proxies")
					one.has("b 1", "c 1")
					want("all have it", "True Acknowledged: acknowledged by 2 of 2 proxies")
					one.has()
					want("all go", "True Acknowledged: acknowledged by 2 of 2 proxies")
				})
			})
		})
	}
}

// told are the replicas that have a key in the ConfigMap.
func told(t *testing.T, kube kubernetes.Interface) string {
	t.Helper()
	all, err := kube.CoreV1().ConfigMaps("heddle-system").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range all.Items {
		for name := range m.Data {
			out = append(out, m.Name+"/"+name)
		}
	}
	return strings.Join(out, " ")
}

func TestOneReplicaTellsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := fake.NewClientset()
		one := newReplica(t, kube, "h1")
		one.has("web 1")
		ctx, cancel := context.WithCancel(t.Context())
		leads := one.exchange.Lead(func(ctx context.Context) error { <-ctx.Done(); return nil })
		go func() { _ = leads(ctx) }()
		synctest.Wait()
		stop := one.run(t)
		time.Sleep(time.Minute)
		if got := told(t, kube); got != "" {
			t.Errorf("it told %s", got)
		}
		cancel()
		time.Sleep(time.Minute)
		if got := told(t, kube); got != wire.DistributionConfigMap+"/h1" {
			t.Errorf("when another leads, it told %q", got)
		}
		stop()
	})
}

// TestAReplicaThatIsGoneCountsNoMore holds that one that ends counts no more at once, and one that falls silent in a minute.
func TestAReplicaThatIsGoneCountsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := fake.NewClientset()
		one, two := newReplica(t, kube, "h1"), newReplica(t, kube, "h2")
		one.tracker.Observe(1, entry())
		one.has("web 1")
		two.has("db 0")
		stop := two.run(t)
		count := func() report.Acknowledgement {
			t.Helper()
			sum, err := one.exchange.Count(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r := entry()
			a, known := sum.Of(r.Entries[1])
			if !known {
				t.Fatal("the object is not known")
			}
			return a
		}
		for range 10 { // it tells nothing new, and lives
			time.Sleep(deadAfter / 2)
			if a := count(); a.Proxies != 2 || a.Acked != 1 {
				t.Fatalf("while both live: %+v", a)
			}
		}
		stop()
		time.Sleep(readFor)
		if a := count(); a.Proxies != 1 || a.Acked != 1 || told(t, kube) != "" {
			t.Errorf("after one has ended: %+v, and the ConfigMap has %q", a, told(t, kube))
		}
		if err := two.exchange.tell(t.Context(), message{Report: two.tracker.Report()}); err != nil { // and never again
			t.Fatal(err)
		}
		time.Sleep(readFor)
		if a := count(); a.Proxies != 2 {
			t.Errorf("after one has told once more: %+v", a)
		}
		time.Sleep(deadAfter)
		if a := count(); a.Proxies != 1 || a.Acked != 1 || told(t, kube) != "" {
			t.Errorf("after one is silent: %+v, and the ConfigMap has %q", a, told(t, kube))
		}
	})
}

// manyObjects are n objects, and the report that accepts them.
func manyObjects(n int) (objects []client.Object, all report.Report) {
	for i := range n {
		u := virtualService(nil)
		u.SetName(fmt.Sprint("r", i))
		objects = append(objects, u)
		all.Entries = append(all.Entries, report.NewEntry(report.Ref{Group: kind.Group, Kind: kind.Kind, Namespace: "shop", Name: u.GetName()}, 3, false, nil))
	}
	return objects, all
}

// TestWhatAStormCosts counts the writes that a thousand changes, and fewer of the costlier ones, cost.
func TestWhatAStormCosts(t *testing.T) {
	const storm, few = 1000, 50
	for says, c := range map[string]struct {
		objects     int
		least, most int32 // writes
		play        func(one *replica, w *Writer, all report.Report)
	}{
		"objects that the proxies acknowledge soon: one write each": {storm, storm, storm, func(one *replica, w *Writer, all report.Report) {
			one.tracker.Observe(1, all)
			w.Set(all)
			time.Sleep(grace / 2)
			one.has("web 1")
			time.Sleep(5 * time.Minute)
		}},
		"objects that they acknowledge late: two": {few, 2 * few, 2 * few, func(one *replica, w *Writer, all report.Report) {
			one.tracker.Observe(1, all)
			w.Set(all)
			time.Sleep(5 * time.Minute)
			one.has("web 1")
			time.Sleep(5 * time.Minute)
		}},
		"objects that all acknowledge once the first proxy comes: two": {few, 2 * few, 2 * few, func(one *replica, w *Writer, all report.Report) {
			one.has()
			one.tracker.Observe(1, all)
			w.Set(all)
			time.Sleep(5 * time.Minute)
			one.has("web 1")
			time.Sleep(5 * time.Minute)
		}},
		"objects that a proxy of later refuses, until it is mended: three": {storm, 3 * storm, 3 * storm, func(one *replica, w *Writer, all report.Report) {
			one.has("web 1")
			one.tracker.Observe(1, all)
			w.Set(all)
			time.Sleep(5 * time.Minute)
			one.has("web 1", "late 1 bad")
			time.Sleep(5 * time.Minute)
			one.has("web 1", "late 1")
			time.Sleep(5 * time.Minute)
		}},
		"objects that proxies refuse which come and go all day: one, six in the first hour, then one an hour": {few, 12 * few, (1 + 6 + 23) * few, func(one *replica, w *Writer, all report.Report) {
			one.has("web 1")
			one.tracker.Observe(1, all)
			w.Set(all)
			for i := range 24 * 60 {
				time.Sleep(29 * time.Second)
				one.has("web 1", fmt.Sprintf("p%d 1 bad", i))
				time.Sleep(31 * time.Second)
				one.has("web 1")
			}
		}},
		"proxies that come and go afterwards: no more": {few, few, few, func(one *replica, w *Writer, all report.Report) {
			one.tracker.Observe(1, all)
			one.has("web 1")
			w.Set(all)
			time.Sleep(5 * time.Minute)
			for i := range 10 * few {
				one.has("web 1", fmt.Sprintf("p%d 0", i))
				time.Sleep(100 * time.Millisecond)
			}
		}},
		"one object that changes a thousand times in ten seconds: one a second": {1, 2, 11, func(one *replica, w *Writer, all report.Report) {
			ref := all.Entries[0].Ref
			for i := range storm {
				why := []report.Issue{{Severity: report.Warning, Reason: fmt.Sprint(i)}}
				r := report.Report{Entries: []*report.Entry{report.NewEntry(ref, 3, false, why)}}
				one.tracker.Observe(uint64(i+1), r)
				one.has("web 1000")
				w.Set(r)
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Minute)
		}},
	} {
		t.Run(says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				objects, all := manyObjects(c.objects)
				cluster, one := newCluster(objects...), newReplica(t, fake.NewClientset(), "h1")
				one.has("web 0")
				w := newWriter(t, cluster, one.exchange.Count)
				lead(t, w, func() { c.play(one, w, all) })
				if got := cluster.writes.Load(); got < c.least || got > c.most {
					t.Errorf("%d writes, want %d to %d", got, c.least, c.most)
				}
			})
		})
	}
}

func TestConditions(t *testing.T) {
	conflict := report.Issue{Severity: report.Partial, Topic: report.Conflict, Path: "spec.trafficPolicy", Reason: "shop/older is older"}
	reference := report.Issue{Severity: report.Warning, Topic: report.Reference, Path: "spec.host", Reason: "nowhere is not a known host"}
	all := report.Acknowledgement{Acked: 2, Proxies: 2}
	for says, c := range map[string]struct {
		issues  []report.Issue
		acked   report.Acknowledgement
		missing map[string]string
		want    string
	}{
		"all is well": {acked: all, want: `Accepted True Accepted: <nil>
ResolvedRefs True ResolvedRefs: <nil>
Acknowledged True Acknowledged: acknowledged by 2 of 2 proxies
`},
		"another comes first": {issues: []report.Issue{conflict}, acked: report.Acknowledgement{Acked: 1, Proxies: 2}, want: `Accepted True PartlyInForce: partial: spec.trafficPolicy: shop/older is older
Conflicted True OlderObject: spec.trafficPolicy: shop/older is older
ResolvedRefs True ResolvedRefs: <nil>
Acknowledged Unknown Pending: acknowledged by 1 of 2 proxies
`},
		"nobody is there": {want: `Accepted True Accepted: <nil>
ResolvedRefs True ResolvedRefs: <nil>
Acknowledged Unknown Pending: no proxy is connected that could acknowledge it; nothing is wrong with it
`},
		"a name leads nowhere": {issues: []report.Issue{reference}, acked: all, want: `Accepted True Accepted: <nil>
ResolvedRefs False NotFound: spec.host: nowhere is not a known host
Acknowledged True Acknowledged: acknowledged by 2 of 2 proxies
`},
		"a Secret is not there": {acked: all, missing: map[string]string{"shop/cert-cacert": "edge.shop", "bank/cert": "edge.bank", "shop/else": "edge.shop"}, want: `Accepted True Accepted: <nil>
ResolvedRefs False NotFound: the Secret shop/cert-cacert is not there, cannot be used, or may not be read by the gateway: edge.shop waits for it
Acknowledged True Acknowledged: acknowledged by 2 of 2 proxies
`},
		"a mistake": {issues: []report.Issue{mistake}, want: `Accepted False NotInForce: not in force
error: spec.http: wrong
ResolvedRefs True ResolvedRefs: <nil>
`},
	} {
		t.Run(says, func(t *testing.T) {
			e := report.NewEntry(ref, 3, false, c.issues)
			e.Secrets = []string{"cert"}
			v := &verdict{entry: e, acked: c.acked, counted: true, missing: missing(e, c.missing, map[string]bool{"shop/cert": true, "bank/cert": true})}
			u := virtualService(nil)
			if changed, err := merge(u, v, time.Now()); err != nil || !changed {
				t.Fatalf("changed %t: %v", changed, err)
			}
			var got string
			list, _ := u.Object["status"].(map[string]any)["conditions"].([]any)
			for _, item := range list {
				m := item.(map[string]any)
				got += fmt.Sprintf("%v %v %v: %v\n", m["type"], m["status"], m["reason"], m["message"])
			}
			if got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if changed, err := merge(u, v, time.Now().Add(time.Hour)); err != nil || changed {
				t.Errorf("merged again: changed %t: %v", changed, err)
			}
		})
	}
}

package registration

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
)

// world is an API server with groups, and replicas of the control plane.
type world struct {
	t   *testing.T
	api client.Client

	mu      sync.Mutex // guards what follows
	read    []Entry    // nil: something changed since
	groups  map[string]*Group
	dead    map[string]bool         // replicas
	disturb func(verb string) error // of a write, nil: nothing
}

func named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dead: map[string]bool{}, groups: map[string]*Group{"db": {NamespacedName: named("db"), UID: "g1", Account: "sql",
		Labels: map[string]string{"app": "db"}, Annotations: map[string]string{"a": "b"}, Ports: map[string]uint32{"tcp": 5432}, Locality: "eu/a", Weight: 3, Probed: true}}}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(kind("WorkloadEntry"), &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(kind("WorkloadEntryList"), &unstructured.UnstructuredList{})
	write := func(verb string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.disturb != nil {
			return w.disturb(verb)
		}
		return nil
	}
	w.api = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(blank(named("any"))).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := write("create"); err != nil {
				return err
			}
			defer w.change(func() { w.read = nil })
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := write("update"); err != nil {
				return err
			}
			defer w.change(func() { w.read = nil })
			return c.Update(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			defer w.change(func() { w.read = nil })
			return c.Delete(ctx, o, opts...)
		},
	}).Build()
	return w
}

// entries are those that were registered, as a cache has them.
func (w *world) entries() []Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read != nil {
		return w.read
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind("WorkloadEntryList"))
	if err := w.api.List(context.Background(), list); err != nil {
		w.t.Fatal(err)
	}
	w.read = []Entry{}
	for _, u := range list.Items {
		if says := u.GetAnnotations(); says[wire.RegistrationGroup] != "" {
			account, _, _ := unstructured.NestedString(u.Object, "spec", "serviceAccount")
			w.read = append(w.read, Entry{client.ObjectKeyFromObject(&u), account, says[wire.RegistrationController], says[wire.RegistrationConnected]})
		}
	}
	return w.read
}

// replica starts one; the function ends it.
func (w *world) replica(name string, leads bool) (*Registrar, func()) {
	r := New(Config{Client: w.api, Self: types.NamespacedName{Namespace: "heddle-system", Name: name}, Entries: w.entries, Most: func() int { return 0 }, Log: slog.New(slog.DiscardHandler),
		Groups: func(n types.NamespacedName) *Group {
			if n.Namespace != "shop" {
				return nil
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.groups[n.Name]
		},
		Alive: func(_ context.Context, n types.NamespacedName) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return n.Namespace == "heddle-system" && !w.dead[n.Name]
		}})
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 2)
	go func() { done <- r.Run(ctx) }()
	go func() {
		if leads {
			done <- r.Lead(ctx)
			return
		}
		done <- nil
	}()
	return r, func() { cancel(); <-done; <-done }
}

// change changes what replicas look at.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) register(r *Registrar) *Registration {
	w.t.Helper()
	g, err := r.Register(w.t.Context(), Claim{Group: named("db"), Account: "sql", Address: "10.0.0.1"})
	if err != nil {
		w.t.Fatal(err)
	}
	if g.Entry() != "db-10.0.0.1" {
		w.t.Errorf("the entry is %s", g.Entry())
	}
	return g
}

// entry returns the machine's, or nil.
func (w *world) entry() *unstructured.Unstructured {
	w.t.Helper()
	u := blank(named("db-10.0.0.1"))
	err := w.api.Get(context.Background(), named("db-10.0.0.1"), u)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// of holds whose the entry is; "": there is none.
func (w *world) of(replica, when string) {
	w.t.Helper()
	got := ""
	if e := w.entry(); e != nil {
		got = strings.TrimPrefix(e.GetAnnotations()[wire.RegistrationController], "heddle.io/heddle-system/")
	}
	if got != replica {
		w.t.Errorf("%s: the entry is %q's, want %q's", when, got, replica)
	}
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestAnEntryIsTheGroups holds what is written, by content.
func TestAnEntryIsTheGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.replica("one", false)
		defer stop()
		w.register(r)
		e := w.entry()
		e.SetResourceVersion("")
		got, err := yaml.Marshal(e.Object)
		if err != nil {
			t.Fatal(err)
		}
		const want = `apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata:
  annotations:
    a: b
    istio.io/autoRegistrationGroup: db
    istio.io/connectedAt: "2000-01-01T00:00:00Z"
    istio.io/workloadController: heddle.io/heddle-system/one
    proxy.istio.io/health-checks-enabled: "true"
  labels:
    app: db
  name: db-10.0.0.1
  namespace: shop
  ownerReferences:
  - apiVersion: networking.istio.io/v1
    controller: true
    kind: WorkloadGroup
    name: db
    uid: g1
spec:
  address: 10.0.0.1
  labels:
    app: db
  locality: eu/a
  ports:
    tcp: 5432
  serviceAccount: sql
  weight: 3
`
		if string(got) != want {
			t.Errorf("wrote\n%s", got)
		}
	})
}

// TestWhatAGroupSaysNoMore holds that labels that were taken out of a group leave its entries, and that those of others stay.
func TestWhatAGroupSaysNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.replica("one", false)
		defer stop()
		w.change(func() { w.groups["db"].Labels = map[string]string{"app": "db", wire.TLSModeLabel: "disabled"} })
		w.register(r)
		e := w.entry()
		e.SetLabels(with(e.GetLabels(), map[string]string{"team": "blue"}))
		if err := w.api.Update(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		w.change(func() {
			group := *w.groups["db"]
			group.Labels = map[string]string{"app": "db"}
			w.groups["db"] = &group
		})
		w.register(r)
		if got := w.entry().GetLabels(); len(got) != 2 || got["app"] != "db" || got["team"] != "blue" {
			t.Errorf("the entry's labels are %v", got)
		}
	})
}

// TestAMachineThatLeaves holds that its entry stays for ten seconds, and for good if it comes back.
func TestAMachineThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.replica("one", false)
		defer stop()
		first := w.register(r)
		pass(45 * time.Second)
		w.of("one", "while it is connected")
		first.Leave()
		first.Leave() // once is enough
		pass(9 * time.Second)
		w.of("one", "a moment after it left")
		second := w.register(r)
		pass(45 * time.Second)
		w.of("one", "once it came back")
		second.Leave()
		pass(12 * time.Second)
		w.of("", "once it left for good")
		if len(r.held) != 0 {
			t.Error("it is not forgotten")
		}
	})
}

// TestTheSameAddressTwice holds that an entry is there as long as anybody is connected by it, to whichever replica.
func TestTheSameAddressTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		one, stopOne := w.replica("one", true)
		defer stopOne()
		two, stopTwo := w.replica("two", false)
		defer stopTwo()
		a, b := w.register(one), w.register(one)
		a.Leave()
		pass(time.Minute)
		w.of("one", "one of two streams has ended")
		c := w.register(two)
		b.Leave()
		pass(time.Minute)
		w.of("two", "it went to another replica")
		d := w.register(one)
		w.of("one", "and there is another of the address")
		d.Leave()
		pass(20 * time.Second)
		w.of("two", "which has left")
		c.Leave()
		pass(12 * time.Second)
		w.of("", "all have left")
	})
}

// TestAReplicaThatDies holds that the leader removes what it leaves, unless the machine comes to another, and never what is not its mesh's.
func TestAReplicaThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		leader, stopLeader := w.replica("one", true)
		defer stopLeader()
		other := blank(named("db-10.0.0.9"))
		other.SetAnnotations(map[string]string{wire.RegistrationGroup: "db", wire.RegistrationController: "istiod-1"})
		if err := w.api.Create(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		two, stop := w.replica("two", false)
		w.register(two)
		stop()
		pass(time.Minute)
		w.of("two", "its pod is there: it may only be slow")
		w.change(func() { w.dead["two"] = true })
		pass(25 * time.Second)
		w.of("two", "the machine may be on its way")
		pass(10 * time.Second)
		w.of("", "it did not come")

		two, stop = w.replica("two", false)
		w.register(two)
		stop()
		pass(20 * time.Second)
		w.register(leader)
		pass(45 * time.Second)
		w.of("one", "it came to another")
		if err := w.api.Get(t.Context(), named("db-10.0.0.9"), other); err != nil {
			t.Errorf("another control plane's entry: %v", err)
		}
	})
}

// TestAReplicaThatIsStartedAgain holds that it removes what it left before, as nobody else may.
func TestAReplicaThatIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		before, stop := w.replica("one", false)
		w.register(before)
		stop()
		_, stop = w.replica("one", true)
		defer stop()
		pass(25 * time.Second)
		w.of("one", "the machine may be on its way")
		pass(10 * time.Second)
		w.of("", "it did not come")
	})
}

// TestNothingOfOthersIsOverwritten holds that a machine is refused where somebody has an entry of its name.
func TestNothingOfOthersIsOverwritten(t *testing.T) {
	for why, annotations := range map[string]map[string]string{
		"somebody wrote it":               nil,
		"and says that it was registered": {wire.RegistrationGroup: "db"},
		"and leaves the group out":        {wire.RegistrationController: "heddle.io/heddle-system/one"},
		"Istio registered it":             {wire.RegistrationGroup: "db", wire.RegistrationController: "istiod-1"},
		"it is another group's":           {wire.RegistrationGroup: "web", wire.RegistrationController: "heddle.io/heddle-system/one"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			r, stop := w.replica("one", true)
			defer stop()
			e := blank(named("db-10.0.0.1"))
			e.SetAnnotations(annotations)
			e.Object["spec"] = map[string]any{"address": "192.0.2.1"}
			if err := w.api.Create(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			_, err := r.Register(t.Context(), Claim{Group: named("db"), Account: "sql", Address: "10.0.0.1"})
			var refusal *Refusal
			if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "shop/db-10.0.0.1") {
				t.Errorf("%s: %v, want a refusal that names it", why, err)
			}
			pass(2 * time.Second)
			if got := w.entry(); got == nil || got.GetResourceVersion() != e.GetResourceVersion() {
				t.Errorf("%s: it is not as it was", why)
			}
		})
	}
}

// TestWhoMayNot holds that a machine's claim must fit its group and its proof.
func TestWhoMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.replica("one", true)
		defer stop()
		for why, c := range map[string]Claim{
			"another account":        {Group: named("db"), Account: "web", Address: "10.0.0.1"},
			"no account":             {Group: named("db"), Address: "10.0.0.1"},
			"no such group":          {Group: named("web"), Account: "sql", Address: "10.0.0.1"},
			"of another namespace":   {Group: types.NamespacedName{Namespace: "other", Name: "db"}, Account: "sql", Address: "10.0.0.1"},
			"no address":             {Group: named("db"), Account: "sql"},
			"a name":                 {Group: named("db"), Account: "sql", Address: "db.example.com"},
			"everybody's address":    {Group: named("db"), Account: "sql", Address: "127.0.0.1"},
			"nobody's address":       {Group: named("db"), Account: "sql", Address: "0.0.0.0"},
			"an address of a link":   {Group: named("db"), Account: "sql", Address: "fe80::1%eth0"},
			"another form of it":     {Group: named("db"), Account: "sql", Address: "::ffff:10.0.0.1"},
			"many machines' address": {Group: named("db"), Account: "sql", Address: "224.0.0.1"},
		} {
			var refusal *Refusal
			if _, err := r.Register(t.Context(), c); !errors.As(err, &refusal) {
				t.Errorf("%s: %v", why, err)
			}
		}
		if got := w.entries(); len(got) != 0 {
			t.Errorf("yet there are %v", got)
		}
	})
}

// TestWritesThatFail holds that a conflict is tried again, and that other trouble is no refusal and leaves nothing behind.
func TestWritesThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.replica("one", true)
		defer stop()
		resource := schema.GroupResource{Resource: "workloadentries"}
		trouble := errors.New("connection refused")
		w.change(func() { w.disturb = func(string) error { return trouble } })
		var refusal *Refusal
		_, err := r.Register(t.Context(), Claim{Group: named("db"), Account: "sql", Address: "10.0.0.1"})
		if !errors.Is(err, trouble) || errors.As(err, &refusal) {
			t.Errorf("trouble: %v", err)
		}
		pass(2 * time.Second)
		if len(r.held) != 0 {
			t.Error("a machine that could not be registered is held")
		}
		times := 0
		w.change(func() {
			w.disturb = func(verb string) error {
				if times++; times < 3 {
					return apierrors.NewAlreadyExists(resource, "db-10.0.0.1")
				}
				return nil
			}
		})
		w.register(r)
		times = 0
		w.change(func() {
			w.disturb = func(verb string) error {
				if times++; verb == "update" && times < 3 {
					return apierrors.NewConflict(resource, "db-10.0.0.1", errors.New("changed"))
				}
				return nil
			}
		})
		w.register(r)
		if times != 3 {
			t.Errorf("%d writes", times)
		}
	})
}

// TestAnEntryThatSomebodyRemoves holds that it comes back while the machine is connected and its group is there.
func TestAnEntryThatSomebodyRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.replica("one", true)
		defer stop()
		w.register(r)
		pass(time.Minute)
		if err := w.api.Delete(t.Context(), w.entry()); err != nil {
			t.Fatal(err)
		}
		pass(12 * time.Second)
		w.of("one", "somebody removed it")
		w.change(func() { delete(w.groups, "db") })
		if err := w.api.Delete(t.Context(), w.entry()); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		w.of("", "its group is gone")
	})
}

// health is the condition of the entry: its status, message and times.
func (w *world) health() (status, message, changed string, all int) {
	list, _, _ := unstructured.NestedSlice(w.entry().Object, "status", "conditions")
	for _, c := range list {
		if m := c.(map[string]any); m["type"] == "Healthy" {
			status, _ = m["status"].(string)
			message, _ = m["message"].(string)
			changed, _ = m["lastTransitionTime"].(string)
		}
	}
	return status, message, changed, len(list)
}

// TestHealth holds that what a proxy tells becomes a condition, beside those of others, with the time of its change.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r, stop := w.replica("one", true)
		defer stop()
		g := w.register(r)
		e := w.entry()
		_ = unstructured.SetNestedSlice(e.Object, []any{map[string]any{"type": "Accepted", "status": "True"}}, "status", "conditions")
		if err := w.api.Status().Update(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		tell := func(reason, status string) string {
			t.Helper()
			g.Health(reason)
			pass(2 * time.Second)
			got, message, changed, n := w.health()
			if got != status || message != reason || n != 2 {
				t.Errorf("told %q: %s %q among %d", reason, got, message, n)
			}
			return changed
		}
		first := tell("", "True")
		if again := tell("", "True"); again != first {
			t.Error("the same news changed something")
		}
		ill := tell("connection refused", "False")
		if ill == first || tell("timeout", "False") != ill {
			t.Error("the time of the change is not that of the change")
		}
		g.Leave()
		w.change(func() {
			next := *w.groups["db"]
			next.Probed = false
			w.groups["db"] = &next
		})
		g = w.register(r)
		if w.entry().GetAnnotations()[wire.HealthChecked] != "" {
			t.Error("it is not probed any more")
		}
		g.Health("")
		pass(2 * time.Second)
		if got, _, _, _ := w.health(); got != "False" {
			t.Error("who is not probed told of its health")
		}
	})
}

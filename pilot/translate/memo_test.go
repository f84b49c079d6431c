package translate_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/model/dump"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// corpus is the inputs of all golden cases.
func corpus(t testing.TB) []*inputs.Inputs {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	var out []*inputs.Inputs
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(data).Files {
			if f.Name == "in.yaml" {
				out = append(out, read(t, string(f.Data)))
			}
		}
	}
	return out
}

// pick takes some objects of every case, so that rounds share most of them.
func pick(all []*inputs.Inputs, rnd *rand.Rand) *inputs.Inputs {
	mesh := *all[rnd.IntN(3)].Mesh
	mesh.StrictHostOwnership, mesh.PersistentSessions = rnd.IntN(3) == 0, rnd.IntN(3) == 0
	in := &inputs.Inputs{Mesh: &mesh}
	for _, c := range all {
		some(&in.Namespaces, c.Namespaces, rnd)
		some(&in.Services, c.Services, rnd)
		some(&in.EndpointSlices, c.EndpointSlices, rnd)
		some(&in.Pods, c.Pods, rnd)
		some(&in.Nodes, c.Nodes, rnd)
		some(&in.VirtualServices, c.VirtualServices, rnd)
		some(&in.DestinationRules, c.DestinationRules, rnd)
		some(&in.Gateways, c.Gateways, rnd)
		some(&in.ServiceEntries, c.ServiceEntries, rnd)
		some(&in.WorkloadEntries, c.WorkloadEntries, rnd)
		some(&in.Sidecars, c.Sidecars, rnd)
		some(&in.PeerAuthentications, c.PeerAuthentications, rnd)
		some(&in.AuthorizationPolicies, c.AuthorizationPolicies, rnd)
		some(&in.Telemetries, c.Telemetries, rnd)
		some(&in.Ingresses, c.Ingresses, rnd)
		some(&in.IngressClasses, c.IngressClasses, rnd)
	}
	return in
}

// some adds objects of names that are not there yet, as a cluster has each name once.
func some[T interface{ comparable }](to *[]T, from []T, rnd *rand.Rand) {
	seen := map[string]bool{}
	for _, o := range *to {
		seen[identity(o)] = true
	}
	for _, o := range from {
		if id := identity(o); rnd.IntN(10) > 0 && !seen[id] {
			seen[id] = true
			*to = append(*to, o)
		}
	}
	rnd.Shuffle(len(*to), func(i, j int) { (*to)[i], (*to)[j] = (*to)[j], (*to)[i] })
}

func identity(o any) string {
	m := o.(interface {
		GetNamespace() string
		GetName() string
	})
	return m.GetNamespace() + "/" + m.GetName()
}

// TestWarmAndColdMemoAgree holds that what is remembered never changes a result, whatever came before.
func TestWarmAndColdMemoAgree(t *testing.T) {
	all, rnd := corpus(t), rand.New(rand.NewPCG(1, 2))
	warm, warmEndpoints := translate.NewMemo(), translate.NewEndpointMemo()
	for round := range 25 {
		in := pick(all, rnd)
		got, gotReport := translate.Translate(in, warm)
		want, wantReport := translate.Translate(in, nil)
		if diff := cmp.Diff(dump.Value(want), dump.Value(got)); diff != "" {
			t.Fatalf("round %d: the snapshots differ (-cold +warm):\n%s", round, diff)
		}
		if diff := cmp.Diff(wantReport, gotReport); diff != "" {
			t.Fatalf("round %d: the reports differ (-cold +warm):\n%s", round, diff)
		}
		index, workloads := translate.Endpoints(in, warmEndpoints)
		coldIndex, coldWorkloads := translate.Endpoints(in, nil)
		if diff := cmp.Diff(endpoints(coldIndex)+workloadText(coldWorkloads), endpoints(index)+workloadText(workloads)); diff != "" {
			t.Fatalf("round %d: the endpoints differ (-cold +warm):\n%s", round, diff)
		}
	}
}

// TestTranslationRemembersBetweenChanges holds the same where a source hands over the very objects of before, but for what changed: one object, or
// one kind.
func TestTranslationRemembersBetweenChanges(t *testing.T) {
	var all []*inputs.Inputs
	for i, in := range corpus(t) {
		if i%3 == 0 { // what changes is a few objects, whatever else there is
			all = append(all, in)
		}
	}
	rnd := rand.New(rand.NewPCG(9, 10))
	warm, in := translate.NewMemo(), pick(all, rand.New(rand.NewPCG(11, 12)))
	for round := range 25 {
		in = altered(in, pick(all, rnd), rnd)
		got, gotReport := translate.Translate(in, warm)
		want, wantReport := translate.Translate(in, nil)
		if diff := cmp.Diff(dump.Value(want), dump.Value(got)); diff != "" {
			t.Fatalf("round %d: the snapshots differ (-cold +warm):\n%s", round, diff)
		}
		if diff := cmp.Diff(wantReport, gotReport); diff != "" {
			t.Fatalf("round %d: the reports differ (-cold +warm):\n%s", round, diff)
		}
	}
}

// selected are n ServiceEntries of a namespace whose endpoints are looked up, of three ports each, n WorkloadEntries that all of them select, and one elsewhere.
func selected(t testing.TB, n int) *inputs.Inputs {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e%d, namespace: a}
spec:
  hosts: [e%d.example.com]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 90, name: grpc, protocol: GRPC}, {number: 100, name: tcp, protocol: TCP}]
  workloadSelector: {labels: {app: m}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: w%d, namespace: a}
spec: {address: w%d.example.net, labels: {app: m}}
`, i, i, i, i)
	}
	text.WriteString("---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: w, namespace: b}\nspec: {address: 10.0.0.1, labels: {app: m}}\n")
	return read(t, text.String())
}

// elsewhere has the last WorkloadEntry say something else.
func elsewhere(in *inputs.Inputs, round int) {
	in.WorkloadEntries = slices.Clone(in.WorkloadEntries)
	last := &in.WorkloadEntries[len(in.WorkloadEntries)-1]
	again := **last
	again.Spec = proto.CloneOf(again.Spec)
	again.Spec.Weight = uint32(1 + round%2)
	*last = &again
}

// TestWhatIsSelectedIsLookedAtWhereItChanges holds that a WorkloadEntry is not looked for again by the ServiceEntries of other namespaces: what a change
// costs there is told by what it allocates.
func TestWhatIsSelectedIsLookedAtWhereItChanges(t *testing.T) {
	const n = 60
	in, memo := selected(t, n), translate.NewMemo()
	translate.Translate(in, memo)
	round := 0
	got := testing.AllocsPerRun(3, func() {
		round++
		elsewhere(in, round)
		translate.Translate(in, memo)
	})
	if anew := 3.0 * n * n; got > anew/2 { // an endpoint for each pair and port
		t.Errorf("%.0f allocations for one WorkloadEntry of another namespace, where all endpoints made anew are %.0f", got, anew)
	}
	snap, _ := translate.Translate(in, memo)
	for _, s := range snap.Services {
		if len(s.DNSEndpoints[80]) != n {
			t.Errorf("%s has %d endpoints, not %d", s.Host, len(s.DNSEndpoints[80]), n)
		}
	}
	gone := *in
	gone.WorkloadEntries = gone.WorkloadEntries[1:]
	snap, _ = translate.Translate(&gone, memo)
	if len(snap.Services) != n || len(snap.Services[0].DNSEndpoints[80]) != n-1 {
		t.Errorf("one that is gone is still selected")
	}
}

// altered is the inputs with something of fresh in the place of what was there, and lists in another order.
func altered(in, fresh *inputs.Inputs, rnd *rand.Rand) *inputs.Inputs {
	next := *in
	switch rnd.IntN(11) {
	case 10:
		next.WorkloadEntries = one(in.WorkloadEntries, fresh.WorkloadEntries, rnd)
	case 0:
		next.Services = one(in.Services, fresh.Services, rnd)
	case 1:
		next.Services, next.Mesh = fresh.Services, fresh.Mesh
	case 2, 3:
		next.VirtualServices = one(in.VirtualServices, fresh.VirtualServices, rnd)
	case 4, 5:
		next.DestinationRules = one(in.DestinationRules, fresh.DestinationRules, rnd)
	case 6:
		next.ServiceEntries = one(in.ServiceEntries, fresh.ServiceEntries, rnd)
	case 7:
		next.Gateways = one(in.Gateways, fresh.Gateways, rnd)
	case 8:
		next.Namespaces, next.Sidecars, next.Telemetries = fresh.Namespaces, fresh.Sidecars, fresh.Telemetries
	case 9:
		next.Ingresses, next.IngressClasses = fresh.Ingresses, fresh.IngressClasses
		next.PeerAuthentications, next.AuthorizationPolicies = fresh.PeerAuthentications, fresh.AuthorizationPolicies
	}
	return &next
}

// one is a list without one object, or with one of another list, in another order.
func one[T interface{ comparable }](list, from []T, rnd *rand.Rand) []T {
	list = slices.Clone(list)
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if len(list) > 0 {
		list = list[1:]
	}
	if len(from) == 0 || rnd.IntN(2) == 0 {
		return list
	}
	o := from[rnd.IntN(len(from))]
	return append(slices.DeleteFunc(list, func(l T) bool { return identity(l) == identity(o) }), o)
}

// TestEndpointsRememberBetweenPodChanges holds the same where a source hands over the very lists of before, but for what changed.
func TestEndpointsRememberBetweenPodChanges(t *testing.T) {
	all, rnd := corpus(t), rand.New(rand.NewPCG(3, 4))
	warm, in := translate.NewEndpointMemo(), pick(all, rand.New(rand.NewPCG(5, 6)))
	for round := range 100 {
		next, fresh := *in, pick(all, rnd)
		switch rnd.IntN(6) {
		case 0:
			next.EndpointSlices = fresh.EndpointSlices
		case 1:
			next.Services = fresh.Services
		case 2:
			next.Pods = fresh.Pods
		case 3:
			next.ServiceEntries = fresh.ServiceEntries
		case 5:
			next.WorkloadEntries = fresh.WorkloadEntries
		case 4:
			next.Nodes, next.Mesh = fresh.Nodes, fresh.Mesh
		}
		in = &next
		index, workloads := translate.Endpoints(in, warm)
		coldIndex, coldWorkloads := translate.Endpoints(in, nil)
		if diff := cmp.Diff(endpoints(coldIndex)+workloadText(coldWorkloads), endpoints(index)+workloadText(workloads)); diff != "" {
			t.Fatalf("round %d: the endpoints differ (-cold +warm):\n%s", round, diff)
		}
	}
}

// TestEqualMeaningKeepsPointers holds that an object whose bytes changed, but not its meaning, keeps its place in everybody's memos.
func TestEqualMeaningKeepsPointers(t *testing.T) {
	for _, in := range corpus(t) {
		memo, endpointMemo := translate.NewMemo(), translate.NewEndpointMemo()
		first, _ := translate.Translate(in, memo)
		index, workloads := translate.Endpoints(in, endpointMemo)
		again := renewed(t, in)
		second, _ := translate.Translate(again, memo)
		index2, workloads2 := translate.Endpoints(again, endpointMemo)
		samePointers(t, "mesh", []*model.Mesh{first.Mesh}, []*model.Mesh{second.Mesh})
		samePointers(t, "services", first.Services, second.Services)
		samePointers(t, "virtual services", first.VirtualServices, second.VirtualServices)
		samePointers(t, "gateways", first.Gateways, second.Gateways)
		samePointers(t, "sidecars", first.Sidecars, second.Sidecars)
		samePointers(t, "peer authentications", first.PeerAuthentications, second.PeerAuthentications)
		samePointers(t, "authorizations", first.Authorizations, second.Authorizations)
		for namespace, list := range first.DestinationRules {
			samePointers(t, "destination rules", list, second.DestinationRules[namespace])
		}
		for k, set := range index.Sets {
			if index2.Sets[k] != set {
				t.Errorf("endpoints %v: another pointer for the same content", k)
			}
		}
		for name, w := range workloads.ByName {
			if workloads2.ByName[name] != w {
				t.Errorf("workload %v: another pointer for the same content", name)
			}
		}
	}
}

func samePointers[T any](t *testing.T, what string, a, b []*T) {
	t.Helper()
	if !slices.Equal(a, b) {
		t.Errorf("%s: other pointers for the same content", what)
	}
}

// renewed is the same objects, read again, with something changed that means nothing.
func renewed(t *testing.T, in *inputs.Inputs) *inputs.Inputs {
	out := &inputs.Inputs{Mesh: &inputs.Mesh{Config: in.Mesh.Config, Problems: in.Mesh.Problems, Namespace: in.Mesh.Namespace,
		ClusterID: in.Mesh.ClusterID, ClusterDomain: in.Mesh.ClusterDomain, TrustDomain: in.Mesh.TrustDomain, StrictHostOwnership: in.Mesh.StrictHostOwnership,
		Machines: in.Mesh.Machines, MachinesPerAccount: in.Mesh.MachinesPerAccount, PersistentSessions: in.Mesh.PersistentSessions}}
	for _, s := range in.Services {
		c := s.DeepCopy()
		c.ResourceVersion = "2"
		out.Services = append(out.Services, c)
	}
	for _, p := range in.Pods {
		c := p.DeepCopy()
		c.ResourceVersion = "2"
		out.Pods = append(out.Pods, c)
	}
	for _, s := range in.EndpointSlices {
		out.EndpointSlices = append(out.EndpointSlices, s.DeepCopy())
	}
	for _, n := range in.Namespaces {
		out.Namespaces = append(out.Namespaces, n.DeepCopy())
	}
	out.Nodes = in.Nodes
	for _, o := range objects(in) {
		copied := o.DeepCopyObject().(inputs.Object)
		copied.SetResourceVersion("2")
		out.Add(copied)
	}
	return out
}

func objects(in *inputs.Inputs) []inputs.Object {
	var out []inputs.Object
	out = appendAll(out, in.VirtualServices)
	out = appendAll(out, in.DestinationRules)
	out = appendAll(out, in.Gateways)
	out = appendAll(out, in.ServiceEntries)
	out = appendAll(out, in.WorkloadEntries)
	out = appendAll(out, in.Sidecars)
	out = appendAll(out, in.Telemetries)
	out = appendAll(out, in.PeerAuthentications)
	out = appendAll(out, in.Ingresses)
	out = appendAll(out, in.IngressClasses)
	return appendAll(out, in.AuthorizationPolicies)
}

func appendAll[S any](to []inputs.Object, from []*inputs.Config[S]) []inputs.Object {
	for _, o := range from {
		to = append(to, o)
	}
	return to
}

// TestInputsAreNeverChanged is the mutation detector: translation gives back what it was given.
func TestInputsAreNeverChanged(t *testing.T) {
	for _, in := range corpus(t) {
		before := fingerprint(t, in)
		translate.Translate(in, nil)
		translate.Endpoints(in, nil)
		if diff := cmp.Diff(before, fingerprint(t, in)); diff != "" {
			t.Errorf("translation changed its inputs:\n%s", diff)
		}
	}
}

func fingerprint(t *testing.T, in *inputs.Inputs) string {
	t.Helper()
	var b strings.Builder
	for _, v := range []any{in.Namespaces, in.Services, in.Pods, in.EndpointSlices, in.Nodes} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", data)
	}
	options := proto.MarshalOptions{Deterministic: true}
	specs := []proto.Message{in.Mesh.Config}
	for _, o := range in.VirtualServices {
		specs = append(specs, o.Spec)
	}
	for _, o := range in.DestinationRules {
		specs = append(specs, o.Spec)
	}
	for _, o := range in.ServiceEntries {
		specs = append(specs, o.Spec)
	}
	for _, o := range in.AuthorizationPolicies {
		specs = append(specs, o.Spec)
	}
	for _, m := range specs {
		data, err := options.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%x\n", data)
	}
	for _, o := range objects(in) {
		fmt.Fprintln(&b, o.GetName(), o.GetLabels(), o.GetAnnotations())
	}
	return b.String()
}

// TestPodsMoveWithTheirNode holds that labels of where a pod runs follow its node, and that replicas on one node share them.
func TestPodsMoveWithTheirNode(t *testing.T) {
	in := func(zone string) *inputs.Inputs {
		text := fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: node, labels: {topology.kubernetes.io/zone: %s}}}", zone)
		for i := range 2 {
			text += fmt.Sprintf(`
---
{apiVersion: v1, kind: Pod, metadata: {name: web-%[1]d, namespace: shop, labels: {app: web}}, spec: {nodeName: node}, status: {podIP: 10.1.0.%[1]d}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-%[1]d, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.1.0.%[1]d], conditions: {ready: true}, nodeName: node, targetRef: {kind: Pod, name: web-%[1]d, namespace: shop}}]`, i)
		}
		return read(t, text+`
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}}`)
	}
	warm := translate.NewEndpointMemo()
	for _, zone := range []string{"a", "b"} {
		index, all := translate.Endpoints(in(zone), warm)
		coldIndex, cold := translate.Endpoints(in(zone), nil)
		if diff := cmp.Diff(endpoints(coldIndex)+workloadText(cold), endpoints(index)+workloadText(all)); diff != "" {
			t.Errorf("zone %s (-cold +warm):\n%s", zone, diff)
		}
		first, second := all.ByName[model.Name{Namespace: "shop", Name: "web-0"}].Labels, all.ByName[model.Name{Namespace: "shop", Name: "web-1"}].Labels
		set := index.Sets[model.EndpointKey{Host: "web.shop.svc.cluster.local", Namespace: "shop", Port: 80}]
		if got := set.Endpoints[0].Labels[model.LabelZone]; got != zone || first[model.LabelZone] != zone {
			t.Errorf("the endpoint is said to be in %q, its pod in %q; they are in %s", got, first[model.LabelZone], zone)
		}
		if fmt.Sprintf("%p", first) != fmt.Sprintf("%p", second) {
			t.Error("replicas on one node do not share their labels")
		}
	}
}

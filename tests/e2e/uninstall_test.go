package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	release "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/cli"
)

// TestUninstallLeavesNothing takes Heddle out of a cluster in use and puts it back: what is there before an installation is there
// after it was taken out again, and nothing else. The file's name makes it the last test. The root and every object of the mesh are
// put back, so that the proxies that ran on meanwhile go on as before.
func TestUninstallLeavesNothing(t *testing.T) {
	x := newInstallation(t)
	if code, said := x.meshctl("uninstall"); code != cli.ExitFailed || !strings.Contains(said, "in use") {
		t.Fatalf("uninstalling under running proxies: exit code %d: %s", code, said)
	}
	x.save()
	t.Cleanup(x.restore)
	x.made()
	if there := x.state(); !slices.ContainsFunc(there, x.charted) || !slices.Contains(there, "clusterrole /heddle-view") {
		t.Fatalf("what the charts made is not seen: %v of %v", x.charts, there)
	}
	x.must("uninstall", "--force", "--purge")
	eventually(t, t.Context(), 30*time.Second, func() error {
		if left := slices.DeleteFunc(x.state(), func(o string) bool { return !heddles(o) && !x.charted(o) }); len(left) > 0 {
			return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
		}
		return nil
	})
	never := x.state()
	if code, said := x.meshctl(x.control...); code != cli.ExitFailed || !strings.Contains(said, "delete those pods first") {
		t.Fatalf("installing over proxies whose root is lost: exit code %d: %s", code, said)
	}
	x.restoreRoot()
	before := x.state()
	start := time.Now()
	x.must(x.control...)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("the installation was ready after %v, not within a minute", took.Round(time.Second))
	}
	x.must("check")
	statusAsBefore := x.judged()
	x.must("uninstall", "--force")
	statusAsBefore()
	x.same(before, "customresourcedefinition ", "apiservice ")
	x.must("uninstall", "--force", "--purge")
	x.same(never, "namespace /heddle-system")
}

// heddles reports whether an object's name says that an installation made it.
func heddles(object string) bool {
	for _, part := range []string{"/heddle-system", "heddle-system/", "/heddle-ca-root-cert", "/heddle-control-plane", "/heddle-injector", "/heddle-validator", ".istio.io"} {
		if strings.Contains(object, part) {
			return true
		}
	}
	return false
}

// charted reports whether an object is one that a chart of Heddle's made, by the manifests that Helm keeps with the releases.
func (x *installation) charted(object string) bool { return slices.Contains(x.charts, object) }

// judged makes an object of the mesh with a condition of somebody else's, and waits until Heddle's is beside it. What it returns wants the status
// to be as it was before that, and deletes the object.
func (x *installation) judged() (asBefore func()) {
	x.t.Helper()
	routes := x.dynamic.Resource(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"}).Namespace("default")
	ctx, name := context.Background(), "kept"
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"hosts": []any{"kept.example.com"}, "http": []any{map[string]any{"directResponse": map[string]any{"status": int64(200)}}}}}}
	if _, err := routes.Create(ctx, o, metav1.CreateOptions{}); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = routes.Delete(ctx, name, metav1.DeleteOptions{}) }) // it is gone, unless the test has failed
	theirs := map[string]any{"type": "Theirs", "status": "True"}
	before := map[string]any{"conditions": []any{theirs}}
	eventually(x.t, ctx, 30*time.Second, func() error { // heddled writes too
		now, err := routes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(now.Object, "status", "conditions")
		if err != nil {
			return err
		}
		if err := unstructured.SetNestedSlice(now.Object, append(conditions, theirs), "status", "conditions"); err != nil {
			return err
		}
		_, err = routes.UpdateStatus(ctx, now, metav1.UpdateOptions{})
		return err
	})
	eventually(x.t, ctx, time.Minute, func() error {
		now, err := routes.Get(ctx, name, metav1.GetOptions{})
		if err == nil && reflect.DeepEqual(now.Object["status"], before) {
			err = errors.New("heddled has written no status")
		}
		return err
	})
	return func() {
		x.t.Helper()
		now, err := routes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			x.t.Fatal(err)
		}
		if !reflect.DeepEqual(now.Object["status"], before) {
			x.t.Errorf("the status after the uninstallation is %v, want %v as before the installation", now.Object["status"], before)
		}
		if err := routes.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			x.t.Error(err)
		}
	}
}

// installation is Heddle in a cluster, and what it takes to put it back.
type installation struct {
	t        *testing.T
	path     string
	kube     kubernetes.Interface
	dynamic  dynamic.Interface
	control  []string // meshctl install ...
	gateways [][]string
	charts   []string // every object of the releases' manifests, as state names it
	root     *corev1.Secret
	objects  []saved
}

// saved is an object of the mesh, to be put back.
type saved struct {
	object   unstructured.Unstructured
	resource schema.GroupVersionResource
}

func newInstallation(t *testing.T) *installation {
	x := &installation{t: t, path: kubeconfig(t), kube: clientset(t)}
	var err error
	if x.dynamic, err = dynamic.NewForConfig(access(t)); err != nil {
		t.Fatal(err)
	}
	return x
}

// meshctl runs a command line and returns its exit code and what it said.
func (x *installation) meshctl(args ...string) (int, string) {
	var out bytes.Buffer
	code := cli.Run(context.Background(), "e2e", append(slices.Clone(args), "--kubeconfig", x.path), cli.Streams{In: os.Stdin, Out: &out, Err: &out})
	return code, out.String()
}

func (x *installation) must(args ...string) {
	x.t.Helper()
	if code, said := x.meshctl(args...); code != cli.ExitOK {
		x.t.Fatalf("meshctl %s: exit code %d: %s", strings.Join(args, " "), code, said)
	}
}

// save notes how Heddle and its gateways were installed, the root, and every object of the mesh.
func (x *installation) save() {
	x.t.Helper()
	config := helmOf(x.t, x.path, "")
	list := action.NewList(config)
	list.AllNamespaces = true
	all, err := list.Run()
	if err != nil {
		x.t.Fatal(err)
	}
	for _, r := range all {
		r, ok := r.(*release.Release)
		if !ok {
			x.t.Fatalf("a release is a %T", r)
		}
		x.note(r.Namespace, r.Manifest)
		switch r.Chart.Name() {
		case "control-plane":
			x.control = []string{"install", "-f", x.values(r.Name, tagged(r))}
		case "gateway": // its image is the control plane's
			x.gateways = append(x.gateways, []string{"gateway", "install", r.Name, "-n", r.Namespace, "-f", x.values(r.Name, r.Config)})
		}
	}
	if x.root, err = x.kube.CoreV1().Secrets(wire.SystemNamespace).Get(x.t.Context(), wire.RootSecret, metav1.GetOptions{}); err != nil {
		x.t.Fatal(err)
	}
	x.each(func(o unstructured.Unstructured, kind schema.GroupVersionResource) {
		if strings.HasSuffix(kind.Group, ".istio.io") {
			x.objects = append(x.objects, saved{o, kind})
		}
	})
}

// note names the objects of a release's manifest.
func (x *installation) note(namespace, manifest string) {
	x.t.Helper()
	for dec := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096); ; {
		var o unstructured.Unstructured
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			x.t.Fatal(err)
		}
		if len(o.Object) == 0 {
			continue
		}
		if o.GetNamespace() == "" && !slices.Contains(clusterWide, o.GetKind()) {
			o.SetNamespace(namespace)
		}
		x.charts = append(x.charts, named(&o))
	}
}

// clusterWide are the kinds in the charts that are in no namespace.
var clusterWide = []string{"ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "IngressClass", "GatewayClass", "PriorityClass"}

func named(o *unstructured.Unstructured) string {
	return strings.ToLower(fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName()))
}

// tagged are a release's values with the image's tag named: the default is that of the meshctl that installs.
func tagged(r *release.Release) map[string]any {
	values := maps.Clone(r.Config)
	if values == nil {
		values = map[string]any{}
	}
	image, _ := values["image"].(map[string]any)
	if image = maps.Clone(image); image == nil {
		image = map[string]any{}
	}
	if image["tag"] == nil {
		image["tag"] = r.Chart.Metadata.AppVersion
	}
	values["image"] = image
	return values
}

// values writes a release's values to a file.
func (x *installation) values(name string, values map[string]any) string {
	text, err := json.Marshal(values)
	if err != nil {
		x.t.Fatal(err)
	}
	path := filepath.Join(x.t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		x.t.Fatal(err)
	}
	return path
}

// restoreRoot puts the root back, in a namespace that an installer did not make.
func (x *installation) restoreRoot() {
	ctx := context.Background()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: wire.SystemNamespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if _, err := x.kube.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		x.t.Log(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: wire.RootSecret, Labels: x.root.Labels}, Type: x.root.Type, Data: x.root.Data}
	if _, err := x.kube.CoreV1().Secrets(wire.SystemNamespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		x.t.Log(err)
	}
	eventually(x.t, ctx, 30*time.Second, func() error {
		_, err := x.kube.CoreV1().ConfigMaps(wire.SystemNamespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err
	})
}

// made marks the namespace as one that the installer made, as it is unless this test has put it back before.
func (x *installation) made() {
	patch := []byte(`{"metadata":{"labels":{"heddle.dev/created-by":"meshctl"}}}`)
	if _, err := x.kube.CoreV1().Namespaces().Patch(context.Background(), wire.SystemNamespace, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		x.t.Error(err)
	}
}

// restore puts everything back.
func (x *installation) restore() {
	x.restoreRoot()
	x.made()
	x.must(x.control...)
	for _, gateway := range x.gateways {
		x.must(gateway...)
	}
	ctx := context.Background()
	for _, s := range x.objects {
		o := s.object
		o.SetResourceVersion("")
		o.SetUID("")
		o.SetManagedFields(nil)
		if _, err := x.dynamic.Resource(s.resource).Namespace(o.GetNamespace()).Create(ctx, &o, metav1.CreateOptions{}); err != nil {
			x.t.Errorf("putting back %s %s/%s: %v", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
	}
}

// each calls f with every object of the cluster.
func (x *installation) each(f func(o unstructured.Unstructured, kind schema.GroupVersionResource)) {
	x.t.Helper()
	kinds, err := discovery.ServerPreferredResources(x.kube.Discovery())
	if err != nil {
		x.t.Fatal(err)
	}
	for _, list := range kinds {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || strings.Contains(r.Name, "/") {
				continue
			}
			kind := gv.WithResource(r.Name)
			objects, err := x.dynamic.Resource(kind).List(x.t.Context(), metav1.ListOptions{})
			if err != nil {
				continue // a definition that is just going away
			}
			for _, o := range objects.Items {
				f(o, kind)
			}
		}
	}
}

// state names every object but those that come and go by themselves.
func (x *installation) state() []string {
	x.t.Helper()
	passing := []string{"events", "leases", "endpoints", "endpointslices", "pods", "replicasets", "componentstatuses", "controllerrevisions", "ipaddresses"}
	var all []string
	x.each(func(o unstructured.Unstructured, kind schema.GroupVersionResource) {
		ours := o.GetNamespace() == wire.SystemNamespace
		if ours && (o.GetName() == "kube-root-ca.crt" || o.GetName() == "default") {
			return // every namespace has them
		}
		if ours || !slices.Contains(passing, kind.Resource) {
			all = append(all, named(&o))
		}
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// same waits until the state is the wanted one, apart from objects that begin with one of but.
func (x *installation) same(want []string, but ...string) {
	x.t.Helper()
	but = append(but, "event ")
	eventually(x.t, x.t.Context(), 30*time.Second, func() error {
		got := x.state()
		var diff []string
		for _, o := range got {
			excused := slices.ContainsFunc(but, func(kind string) bool { return strings.HasPrefix(o, kind) })
			if !slices.Contains(want, o) && !excused {
				diff = append(diff, "too many: "+o)
			}
		}
		for _, o := range want {
			if !slices.Contains(got, o) {
				diff = append(diff, "missing: "+o)
			}
		}
		if len(diff) > 0 {
			return fmt.Errorf("the cluster is not as it was before:\n%s", strings.Join(diff, "\n"))
		}
		return nil
	})
}

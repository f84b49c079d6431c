package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
)

// answers stands in for pods: method, pod, port and path to answer.
type answers map[string]string

func (a answers) Ask(_ context.Context, namespace, pod string, port int, method, path string) ([]byte, error) {
	key := fmt.Sprintf("%s %s.%s:%d%s", method, pod, namespace, port, path)
	text, ok := a[key]
	if !ok {
		return nil, fmt.Errorf("nobody answers %s", key)
	}
	return []byte(text), nil
}

// asked is what the view of that name says of a proxy's answer.
func asked(t *testing.T, view, answer string, text bool) (proxy.Answer, error) {
	t.Helper()
	for _, v := range proxy.Views() {
		if v.Name == view {
			ask := answers{}
			for _, path := range []string{"/config_dump?include_eds", "/config_dump?type=DnsTable", "/clusters"} {
				ask["GET p.n:15000"+path] = answer
			}
			return v.Read(t.Context(), ask, proxy.Pod{Namespace: "n", Name: "p"}, text)
		}
	}
	t.Fatalf("no view %s", view)
	return proxy.Answer{}, nil
}

// Each case is what a proxy answers to one view, or a config dump.
func TestViews(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		view, live := strings.TrimSpace(c.Files["view"]), c.Files["answer"] != ""
		answer, err := asked(t, view, c.Files["answer"]+c.Files["dump"], live)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := answer.Table(&out, strings.TrimSpace(c.Files["name"])); err != nil {
			t.Fatal(err)
		}
		return map[string]string{"table": out.String()}
	})
}

// TestAnswersForPrograms holds that they are the dump's own, cut to the view, and what is refused.
func TestAnswersForPrograms(t *testing.T) {
	const dump = `{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump","version_info":"<7>","a":1},{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","camelCase":12345678901234567890}]}`
	for _, c := range []struct{ view, answer, want string }{
		{"clusters", dump, `{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump","version_info":"<7>","a":1}]}`},
		{"routes", dump, `{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","camelCase":12345678901234567890}]}`},
		{"all", dump, dump},
		{"endpoints", dump, "error: the config dump has no EndpointsConfigDump: it is taken with ?include_eds"},
		{"listeners", dump, "error: the config dump has no ListenersConfigDump"},
		{"clusters", `{"resources":[]}`, "error: it is no config dump of Envoy's form: it has no configs"},
		{"clusters", `[`, "error: reading the proxy's answer: unexpected end of JSON input"},
	} {
		got := ""
		answer, err := asked(t, c.view, c.answer, false)
		if err == nil {
			got = string(answer.Value())
		} else {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.view, got, c.want)
		}
	}
	for _, v := range proxy.Views() {
		if _, err := v.ReadFile([]byte(dump)); v.Name == "names" && (err == nil || err.Error() != "config dumps have no names: ask a proxy") || v.Name == "all" && err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

func running(namespace, name string, labels map[string]string, containers ...string) *core.Pod {
	p := &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Status: core.PodStatus{Phase: core.PodRunning}}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, core.Container{Name: c})
	}
	return p
}

func TestStatusJoinsReplicas(t *testing.T) {
	control := map[string]string{"app.kubernetes.io/name": "heddled"}
	canary := map[string]string{"app.kubernetes.io/name": "heddled", "heddle.io/rev": "canary"}
	kube := fake.NewClientset(running("heddle-system", "h1", control), running("heddle-system", "h2", canary))
	const typ = "type.googleapis.com/envoy.config."
	ask := answers{
		"GET h1.heddle-system:15014/debug/syncz": `[{"node":{"Role":"sidecar","Version":"v1"},"namespace":"shop","pod":"b","types":{
			"` + typ + `cluster.v3.Cluster":{"sent":"3","acked":"3"},"` + typ + `listener.v3.Listener":{"sent":"4","acked":"3","pending":2},
			"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret":{"sent":"5","acked":"5","missing":["kubernetes://gone"]},
			"` + typ + `route.v3.RouteConfiguration":{"sent":"2","acked":"1","error":"80: bad"},"` + typ + `endpoint.v3.ClusterLoadAssignment":{}}}]`,
		"GET h2.heddle-system:15014/debug/syncz": `[{"node":{"Role":"router","Version":"v1"},"namespace":"edge","pod":"a","skew":"announces dialect 9, newer"}]`,
	}
	all, err := proxy.ReadStatus(t.Context(), kube, ask)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := proxy.StatusTable(&out, all); err != nil {
		t.Fatal(err)
	}
	const want = `PROXY    ROLE      CLUSTERS   ENDPOINTS   LISTENERS   ROUTES   SECRETS             VERSION   CONTROL PLANE   REVISION
a.edge   router    -          -           -           -        -                   v1        h2              canary
b.shop   sidecar   SYNCED     NOT SENT    STALE (2)   NACK     SYNCED, 1 MISSING   v1        h1              default

a.edge announces dialect 9, newer

b.shop refused RouteConfiguration: 80: bad

b.shop waits for Secrets that are not there, cannot be used, or may not be read: kubernetes://gone
`
	var asJSON bytes.Buffer
	if err := output.Print(&asJSON, output.JSON, all, nil); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"state": "STALE",` + "\n" + `        "pending": 2`, `"state": "NACK",` + "\n" + `        "reason": "80: bad"`, `"skew": "announces dialect 9, newer"`} {
		if !strings.Contains(asJSON.String(), part) {
			t.Errorf("the JSON lacks %s:\n%s", part, asJSON.String())
		}
	}
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	ask["GET h2.heddle-system:15014/debug/syncz"] = `[{"node":{"Role":"sidecar"},"namespace":"shop","pod":"c","types":{` +
		`"` + typ + `route.v3.VirtualHost":{"sent":"3","acked":"2","pending":1},"type.googleapis.com/envoy.data.dns.v3.DnsTable":{"sent":"1","acked":"0","error":"default: bad"}}}]`
	if all, err = proxy.ReadStatus(t.Context(), kube, ask); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := proxy.StatusTable(&out, all); err != nil {
		t.Fatal(err)
	}
	const more = `PROXY    ROLE      CLUSTERS   ENDPOINTS   LISTENERS   ROUTES   HOSTS       NAMES   SECRETS             VERSION   CONTROL PLANE   REVISION
b.shop   sidecar   SYNCED     NOT SENT    STALE (2)   NACK     -           -       SYNCED, 1 MISSING   v1        h1              default
c.shop   sidecar   -          -           -           -        STALE (1)   NACK    -                   -         h2              canary
`
	if !strings.HasPrefix(out.String(), more) || !strings.Contains(out.String(), "c.shop refused DnsTable: default: bad") {
		t.Errorf("got\n%s\nwant\n%s", out.String(), more)
	}
	if _, err := proxy.ReadStatus(t.Context(), fake.NewClientset(), ask); err == nil || !strings.Contains(err.Error(), "no control plane runs") {
		t.Errorf("without a control plane: %v", err)
	}
}

func TestFind(t *testing.T) {
	labels := map[string]string{"app": "catalog"}
	pending := running("shop", "catalog-0", labels, "app", "heddle-proxy")
	pending.Status.Phase = core.PodPending
	native := running("shop", "native", nil, "app")
	native.Spec.InitContainers = []core.Container{{Name: "heddle-proxy"}}
	objects := []runtime.Object{pending, native, running("shop", "catalog-1", labels, "heddle-proxy"), running("shop", "plain", nil, "app"),
		&apps.Deployment{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "catalog"}, Spec: apps.DeploymentSpec{Selector: &meta.LabelSelector{MatchLabels: labels}}}}
	kube := fake.NewClientset(objects...)
	for name, want := range map[string]string{
		"native": "native.shop", "catalog-1.shop": "catalog-1.shop", "deploy/catalog": "catalog-1.shop", "pod/native": "native.shop",
		"plain": "error: pod shop/plain has no proxy", "nothing": "error: there is no pod nothing in namespace shop",
		"no.where": "error: there is neither pod no in namespace where nor pod no.where in namespace shop", "deploy/nil": "error: there is no deployment nil in namespace shop", "service/x": "error: \"service/x\"",
	} {
		pod, err := proxy.Find(t.Context(), kube, name, "shop")
		got := pod.String()
		if err != nil {
			got = "error: " + err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestLevel(t *testing.T) {
	ask := answers{"GET p.n:15000/logging": `{"level":"INFO"}`, "POST p.n:15000/logging?level=debug": `{"level":"DEBUG"}`}
	for level, want := range map[string]string{"": "info", "debug": "debug"} {
		got, err := proxy.Level(t.Context(), ask, proxy.Pod{Namespace: "n", Name: "p"}, level)
		if err != nil || got != want {
			t.Errorf("level %q: got %q, want %q (%v)", level, got, want, err)
		}
	}
}

func TestReadInjection(t *testing.T) {
	kube := fake.NewClientset(running("heddle-system", "h1", map[string]string{"app": "heddled"}), running("heddle-system", "h2", map[string]string{"app": "heddled-canary"}))
	ask := answers{http.MethodGet + " h1.heddle-system:15014" + proxy.InjectionPath: `{"Image":"r/p:1","Native":true,"NeverInject":null}`,
		http.MethodGet + " h2.heddle-system:15014" + proxy.InjectionPath: `{"Image":"r/p:2","Native":true}`}
	for of, image := range map[string]string{"": "r/p:1", "canary": "r/p:2"} {
		p, err := proxy.ReadInjection(t.Context(), kube, ask, of)
		if err != nil || p.Image != image || !p.Native {
			t.Errorf("%q: got %+v (%v)", of, p, err)
		}
	}
	if _, err := proxy.ReadInjection(t.Context(), kube, ask, "gone"); err == nil || !strings.Contains(err.Error(), "no control plane of revision gone runs") {
		t.Errorf("got %v", err)
	}
}

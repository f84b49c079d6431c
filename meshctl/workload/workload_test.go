package workload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/heddle-mesh/heddle/api/wire"
)

const group = `apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: db, namespace: shop}
spec:
  template: {serviceAccount: sql, ports: {tcp: 5432}}
  probe: {periodSeconds: 5, httpGet: {path: /ready, port: 8080, httpHeaders: [{name: a, value: b}]}}
`

func TestGroup(t *testing.T) {
	got, err := Group(Template{Name: "db", Namespace: "shop", Account: "sql", Labels: map[string]string{"app": "db"}, Ports: map[string]string{"tcp": "5432"}})
	const want = `apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata:
  name: db
  namespace: shop
spec:
  metadata:
    labels:
      app: db
  template:
    ports:
      tcp: 5432
    serviceAccount: sql
`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	for why, bad := range map[string]Template{"no account": {Name: "db", Namespace: "shop"}, "a bad account": {Name: "db", Namespace: "shop", Account: "a b"},
		"a bad port": {Name: "db", Namespace: "shop", Account: "sql", Ports: map[string]string{"tcp": "70000"}}} {
		if _, err := Group(bad); err == nil {
			t.Errorf("%s: written", why)
		}
	}
}

func TestReadRefusesWhatNoMachineRegistersBy(t *testing.T) {
	for why, text := range map[string]string{"nothing": "", "two": group + "---\n" + strings.Replace(group, "name: db", "name: other", 1),
		"no account": strings.Replace(group, "serviceAccount: sql, ", "", 1), "an unknown field": strings.Replace(group, "path:", "paths:", 1)} {
		if _, err := Read([]byte(text), "shop"); err == nil {
			t.Errorf("%s: read", why)
		}
	}
}

func TestFiles(t *testing.T) {
	kube := fake.NewClientset(
		&core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: wire.RootConfigMap, Namespace: "shop"}, Data: map[string]string{wire.RootConfigMapKey: "the root"}},
		&core.Service{ObjectMeta: meta.ObjectMeta{Name: "heddled", Namespace: "heddle-system"}})
	var asked *authentication.TokenRequest
	kube.PrependReactor("create", "serviceaccounts", func(a clienttesting.Action) (bool, runtime.Object, error) {
		create := a.(clienttesting.CreateActionImpl)
		if create.GetSubresource() != "token" || create.Name != "sql" || create.Namespace != "shop" {
			t.Errorf("asked for %s of %s/%s", create.GetSubresource(), create.Namespace, create.Name)
		}
		asked = create.GetObject().(*authentication.TokenRequest)
		out := asked.DeepCopy()
		out.Status.Token = "the token"
		return true, out, nil
	})
	g, err := Read([]byte(group), "shop")
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Group: g, Plane: "192.0.2.1", Revision: "heddled", Namespace: "heddle-system", TokenLife: time.Hour, Audience: wire.TokenAudience,
		TrustDomain: "cluster.local", ClusterID: "Kubernetes", CaptureDNS: true}
	files, err := Files(t.Context(), kube, r)
	if err != nil {
		t.Fatal(err)
	}
	if len(asked.Spec.Audiences) != 1 || asked.Spec.Audiences[0] != "heddle-ca" || *asked.Spec.ExpirationSeconds != 3600 || asked.Spec.BoundObjectRef != nil {
		t.Errorf("asked for %+v", asked.Spec)
	}
	for name, want := range map[string]string{
		"cluster.env": "HEDDLE_CLUSTER_ID='Kubernetes'\nHEDDLE_DISCOVERY_ADDRESS='heddled.heddle-system.svc:15012'\nHEDDLE_TRUST_DOMAIN='cluster.local'\n" +
			"HEDDLE_WORKLOAD_GROUP='db'\nISTIO_META_DNS_CAPTURE='true'\nPOD_NAMESPACE='shop'\nSERVICE_ACCOUNT='sql'\n",
		"mesh.yaml": "defaultConfig:\n  readinessProbe:\n    httpGet:\n      httpHeaders:\n      - name: a\n        value: b\n      path: /ready\n      port: 8080\n    periodSeconds: 5\n",
		"hosts":     "192.0.2.1 heddled.heddle-system.svc\n", "token": "the token", "root-cert.pem": "the root",
	} {
		if string(files[name]) != want {
			t.Errorf("%s is\n%s", name, files[name])
		}
	}
	r.Plane = ""
	if _, err := Files(t.Context(), kube, r); err == nil || !strings.Contains(err.Error(), "--ingressIP") {
		t.Errorf("a control plane that no machine reaches: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "machine")
	for range 2 { // it can be done again
		if err := Write(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token: %v, %v", info, err)
	}
}

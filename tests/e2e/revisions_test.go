package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	release "helm.sh/helm/v4/pkg/release/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/cli"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// lodgerOf is a client whose proxy is of a revision.
const lodgerOf = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: shop, labels: {app: %[1]s, heddle.io/rev: %[2]s}}
spec:
  serviceAccountName: client
  terminationGracePeriodSeconds: 1
  containers: [{name: client, image: "heddle.local/shop:demo", imagePullPolicy: IfNotPresent, args: [sleep]}]
`

// TestTwoRevisions puts a second control plane beside the first: its proxies talk to it and to workloads of the first, tags move namespaces from one to
// the other, and taking it out leaves the first as it was.
func TestTwoRevisions(t *testing.T) {
	c, x := connect(t), newInstallation(t)
	const of = "canary"
	found, err := helmOf(t, x.path, wire.SystemNamespace).Releases.Last("heddle")
	if err != nil {
		t.Fatal(err)
	}
	values := x.values("image", map[string]any{"image": tagged(found.(*release.Release))["image"]})
	before := x.state()
	t.Cleanup(func() {
		if code, said := x.meshctl("uninstall", "--revision", of, "--force"); code != cli.ExitOK && !strings.Contains(said, "is not installed") {
			t.Errorf("taking the revision out: exit code %d: %s", code, said)
		}
	})
	x.must("install", "--revision", of, "-f", values, "--set", "replicas=1")
	x.must("tag", "set", "prod", "--revision", of)
	labelled, prod := scratch(t, x.kube, map[string]string{wire.RevisionLabel: of}), scratch(t, x.kube, map[string]string{wire.RevisionLabel: "prod"})
	x.injects(map[string]string{labelled: of, prod: of, tour.ShopNamespace: ""})

	const name = "lodger-canary"
	apply(t, c, fmt.Sprintf(lodgerOf, name, of))
	asks(t, c, "app="+name)
	p, err := c.Pod(t.Context(), tour.ShopNamespace, "app="+name)
	if err != nil {
		t.Fatal(err)
	}
	if by := x.serving(p); !strings.HasPrefix(by, "heddled-"+of+"-") {
		t.Errorf("the proxy of revision %s is served by %s", of, by)
	}
	x.must("check")
	x.must("tag", "set", "prod", "--revision", wire.DefaultRevision, "--overwrite")
	x.injects(map[string]string{labelled: of, prod: ""})
	if code, said := x.meshctl("uninstall", "--revision", of); code != cli.ExitFailed || !strings.Contains(said, "1 pods run its proxy (shop/"+name+")") {
		t.Errorf("taking it out while it is used: exit code %d: %s", code, said)
	}
	if err := c.DeletePod(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	x.must("tag", "remove", "prod", "--force")
	x.must("uninstall", "--revision", of, "--force")
	x.same(append(before, "namespace /"+labelled, "namespace /"+prod), "serviceaccount "+labelled, "serviceaccount "+prod, "configmap "+labelled, "configmap "+prod)
}

// injects wants new pods of namespaces to get the proxy of a revision.
func (x *installation) injects(revisions map[string]string) {
	x.t.Helper()
	for ns, want := range revisions {
		eventually(x.t, x.t.Context(), 30*time.Second, func() error {
			pod, err := dryRun(x.t.Context(), x.kube, ns, nowhere("asks"))
			if err != nil {
				return err
			}
			if by, injected := inject.RevisionOf(pod); !injected || by != want {
				return fmt.Errorf("a pod of namespace %s: injected %v, by revision %q, want %q", ns, injected, by, want)
			}
			return nil
		})
	}
}

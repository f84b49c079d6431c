package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/meshctl/cli"
	"github.com/heddle-mesh/heddle/meshctl/install"
)

// helmOf returns Helm's own actions, as its commands use them, for the releases of a namespace.
func helmOf(t *testing.T, path, namespace string) *action.Configuration {
	t.Helper()
	flags := genericclioptions.NewConfigFlags(true)
	flags.KubeConfig, flags.Namespace = &path, &namespace
	config := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	if err := config.Init(flags, namespace, ""); err != nil {
		t.Fatal(err)
	}
	return config
}

// upgrade does what "helm upgrade --reset-then-reuse-values --wait" does with a chart in a folder.
func upgrade(t *testing.T, path, namespace, name, folder string, values map[string]any) {
	t.Helper()
	chart, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	up := action.NewUpgrade(helmOf(t, path, namespace))
	up.Namespace, up.ResetThenReuseValues, up.ServerSideApply = namespace, true, "auto"
	up.WaitStrategy, up.Timeout = kube.StatusWatcherStrategy, 2*time.Minute
	if _, err := up.RunWithContext(t.Context(), name, chart, values); err != nil {
		t.Fatalf("helm upgrade %s: %v", name, err)
	}
}

// TestHelmSeesWhatMeshctlInstalled upgrades a setting with meshctl, another with Helm and the charts that meshctl writes into a folder, and
// takes both back with Helm's rollback. Afterwards pods are injected as before: the webhooks' root is nothing that Helm knows of.
func TestHelmSeesWhatMeshctlInstalled(t *testing.T) {
	x := newInstallation(t)
	config := helmOf(t, x.path, "heddle-system")
	revision := func() (int, string) {
		last, err := config.Releases.Last(install.Release)
		if err != nil {
			t.Fatal(err)
		}
		of, err := release.NewAccessor(last)
		if err != nil {
			t.Fatal(err)
		}
		return of.Version(), of.Status()
	}
	before, status := revision()
	if status != "deployed" {
		t.Fatalf("release %s is %s", install.Release, status)
	}
	x.save()
	x.must(append(x.control, "--set", "logLevel=debug")...)
	if after, _ := revision(); after != before+1 {
		t.Errorf("revision %d follows %d", after, before)
	}
	dir := t.TempDir()
	x.must("charts", dir)
	upgrade(t, x.path, wire.SystemNamespace, install.BaseRelease, filepath.Join(dir, manifests.Base), nil)
	upgrade(t, x.path, wire.SystemNamespace, install.Release, filepath.Join(dir, manifests.ControlPlane), map[string]any{"proxy": map[string]any{"logLevel": "warn"}})
	if after, status := revision(); after != before+2 || status != "deployed" {
		t.Errorf("after Helm's own upgrade: revision %d, %s", after, status)
	}
	heddled, err := x.kube.AppsV1().Deployments(wire.SystemNamespace).Get(t.Context(), wire.DiscoveryService, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--log-level=debug", "--proxy-log-level=warn"} { // of the one upgrade, and of the other
		if args := heddled.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, want) {
			t.Errorf("no %s in %q", want, args)
		}
	}
	eventually(t, t.Context(), time.Minute, func() error {
		if code, said := x.meshctl("check"); code != 0 {
			return fmt.Errorf("check after Helm's upgrade: %s", said)
		}
		return nil
	})
	back := action.NewRollback(config)
	back.Version, back.WaitStrategy, back.ServerSideApply = before, kube.StatusWatcherStrategy, "auto"
	back.Timeout = time.Minute
	if err := back.Run(install.Release); err != nil {
		t.Fatal(err)
	}
	if after, status := revision(); after != before+3 || status != "deployed" {
		t.Errorf("after the rollback: revision %d, %s", after, status)
	}
	eventually(t, context.Background(), time.Minute, func() error {
		if code, said := x.meshctl("check"); code != 0 {
			return fmt.Errorf("check after the rollback: %s", said)
		}
		return nil
	})
}

// TestASecondIngressIsRefused wants one release at most to carry the label that published Gateways select.
func TestASecondIngressIsRefused(t *testing.T) {
	x := newInstallation(t)
	ns := scratch(t, x.kube, nil)
	t.Cleanup(func() {
		if t.Failed() {
			x.meshctl("gateway", "uninstall", "second", "-n", ns)
		}
	})
	code, said := x.meshctl("gateway", "install", "second", "-n", ns, "--set", "istio=ingressgateway", "--set", "replicas=0")
	if code != cli.ExitFailed || !strings.Contains(said, "already carries istio: ingressgateway") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

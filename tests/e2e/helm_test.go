package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release"
	"k8s.io/cli-runtime/pkg/genericclioptions"

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

// TestHelmSeesWhatMeshctlInstalled upgrades a setting with meshctl, and takes it back with Helm's rollback. Afterwards pods are injected
// as before: the webhooks' root is nothing that Helm knows of.
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
	back := action.NewRollback(config)
	back.Version, back.WaitStrategy, back.ServerSideApply = before, kube.StatusWatcherStrategy, "auto"
	back.Timeout = time.Minute
	if err := back.Run(install.Release); err != nil {
		t.Fatal(err)
	}
	if after, status := revision(); after != before+2 || status != "deployed" {
		t.Errorf("after the rollback: revision %d, %s", after, status)
	}
	eventually(t, context.Background(), time.Minute, func() error {
		if code, said := x.meshctl("check"); code != 0 {
			return fmt.Errorf("check after the rollback: %s", said)
		}
		return nil
	})
}

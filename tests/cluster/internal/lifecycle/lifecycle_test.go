package lifecycle

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/progress"
)

func cluster(t *testing.T, root string) Cluster {
	t.Helper()
	return Cluster{Plan: plan.Default(), Layout: plan.Layout{Root: root}, Report: progress.New(&bytes.Buffer{})}
}

// Whatever --state says, no folder is deleted that is not a cluster's.
func TestAForeignFolderIsNotOurs(t *testing.T) {
	root := t.TempDir()
	c := cluster(t, root)
	if err := c.ours(); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
	if err := cluster(t, filepath.Join(root, "absent")).ours(); err != nil {
		t.Errorf("no folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.ours(); err == nil {
		t.Error("a folder with somebody's files is taken for ours")
	}
	if err := os.WriteFile(filepath.Join(root, marker), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.ours(); err != nil {
		t.Errorf("with the marker: %v", err)
	}
}

func TestAClusterWithoutProcessesIsNotAlive(t *testing.T) {
	if cluster(t, t.TempDir()).alive() {
		t.Error("an empty folder is alive")
	}
}

func TestFingerprintFollowsKubernetes(t *testing.T) {
	c := cluster(t, "/state")
	one := c.fingerprint(made{kubernetes: "/cache/k8s-1"})
	if one != c.fingerprint(made{kubernetes: "/cache/k8s-1", images: []string{"x"}}) {
		t.Error("it changes by itself")
	}
	if one == c.fingerprint(made{kubernetes: "/cache/k8s-2"}) {
		t.Error("another Kubernetes goes unnoticed")
	}
}

func TestIdentitiesAreComplete(t *testing.T) {
	root := t.TempDir()
	c := cluster(t, root)
	if err := c.writeIdentities(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := c.writeConfiguration(); err != nil {
		t.Fatal(err)
	}
	// Every path below the state folder that a program is told of must exist, or be for the program to make.
	makes := []string{"/containerd", "/kubelet", "/log", "/cni-cache"}
	for _, group := range c.Plan.Groups() {
		spec, err := os.ReadFile(c.Layout.Spec(group))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.FieldsFunc(string(spec), func(r rune) bool { return strings.ContainsRune("\" =,", r) }) {
			if !strings.HasPrefix(word, root+"/") || forThem(word, makes) {
				continue
			}
			if _, err := os.Stat(word); err != nil {
				t.Errorf("%s is told of %s: %v", group, word, err)
			}
		}
	}
	for _, secret := range []string{c.Layout.Kubeconfig(), c.Layout.PKI("ca-key.pem")} {
		if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, info.Mode(), err)
		}
	}
}

func forThem(path string, makes []string) bool {
	for _, m := range makes {
		if strings.HasSuffix(path, m) || strings.Contains(path, "/bin/") {
			return true
		}
	}
	return false
}

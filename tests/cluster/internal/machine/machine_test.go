package machine

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const mountinfo = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 22 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
40 22 0:40 / /var/lib/heddle-cluster/nodes/worker rw - tmpfs tmpfs rw
41 40 0:41 / /var/lib/heddle-cluster/nodes/worker/a\040b rw - overlay overlay rw
42 22 0:42 / /var/lib/heddle-cluster-other rw - tmpfs tmpfs rw
broken line
`

func TestParseMounts(t *testing.T) {
	mounts := parseMounts(mountinfo)
	if len(mounts) != 6 {
		t.Fatalf("%d mounts: %v", len(mounts), mounts)
	}
	if want := (Mount{At: "/sys/fs/cgroup/memory", Kind: "cgroup"}); mounts[1] != want {
		t.Errorf("got %v", mounts[1])
	}
}

func TestLeftoverMountsAreOursAndInnermostFirst(t *testing.T) {
	got := Below(parseMounts(mountinfo), "/var/lib/heddle-cluster")
	want := []string{"/var/lib/heddle-cluster/nodes/worker/a b", "/var/lib/heddle-cluster/nodes/worker"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestParseRoute(t *testing.T) {
	for text, want := range map[string]string{"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "default": "", "0.0.0.0/0": ""} {
		got, ok := parseRoute(text)
		if ok != (want != "") || (ok && got != netip.MustParsePrefix(want)) {
			t.Errorf("%s: %v, %v", text, got, ok)
		}
	}
}

func TestCgroupsInheritTheirCpus(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{"cpuset.cpus": "0-1\n", "cpuset.mems": "0\n"} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := makeCgroup(root, "/heddle/worker", false); err != nil {
		t.Fatal(err)
	}
	if err := makeCgroup(root, "/heddle/worker", false); err != nil {
		t.Errorf("again: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "heddle/worker/cpuset.cpus")); err != nil || string(got) != "0-1\n" {
		t.Errorf("cpus %q, %v", got, err)
	}
}

func TestRemoveTree(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "heddle/worker/pod"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(filepath.Join(root, "heddle")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "heddle")); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	if err := removeTree(filepath.Join(root, "heddle")); err != nil {
		t.Errorf("again: %v", err)
	}
}

// The first values are the machine's own; what a later start finds are a kubelet's.
func TestTunablesAreSavedOnce(t *testing.T) {
	folder := t.TempDir()
	at := filepath.Join(folder, "kernel/panic")
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SaveTunables(folder); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(at); string(got) != "first" {
		t.Errorf("overwritten with %q", got)
	}
	if _, err := os.Stat(filepath.Join(folder, "vm/overcommit_memory")); err != nil {
		t.Errorf("not saved: %v", err)
	}
}

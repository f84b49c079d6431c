package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/agent"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

func generation(n int) identity.Material {
	return identity.Material{Key: fmt.Append(nil, "key ", n), Chain: fmt.Append(nil, "chain ", n), Roots: fmt.Append(nil, "roots ", n)}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestFilesChangeTogether holds that every generation is whole behind one link, that only the owner reads the key, and that old ones go.
func TestFilesChangeTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	f, err := agent.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, wire.FileKey), []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	var open *os.Root // on what was in force before
	for n := range 4 {
		if err := f.Write(generation(n)); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{wire.FileKey: "key", wire.FileChain: "chain", wire.FileRoots: "roots"} {
			if got := content(t, filepath.Join(dir, name)); got != fmt.Sprint(want, " ", n) {
				t.Errorf("generation %d: %s holds %q", n, name, got)
			}
			if at, err := os.Readlink(filepath.Join(dir, name)); err != nil || at != filepath.Join("..data", name) {
				t.Errorf("%s is not behind the one link: %q, %v", name, at, err)
			}
		}
		if info, err := os.Stat(filepath.Join(dir, wire.FileKey)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key's mode: %v, %v", info.Mode(), err)
		}
		if open != nil {
			if data, err := open.ReadFile(wire.FileChain); err != nil || string(data) != fmt.Sprint("chain ", n-1) {
				t.Errorf("a reader of generation %d found %q, %v", n-1, data, err)
			}
		}
		if open, err = os.OpenRoot(filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = open.Close() })
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "..issue-*")); len(left) != 2 {
		t.Errorf("generations left: %v", left)
	}
}

// TestAFolderThatCannotBeWritten holds that what was in force stays where a new generation cannot be written.
func TestAFolderThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	f, err := agent.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(generation(1)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "..link", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(generation(2)); err == nil {
		t.Error("no error")
	}
	if got := content(t, filepath.Join(dir, wire.FileKey)); got != "key 1" {
		t.Errorf("the key is %q", got)
	}
	if _, err := agent.New(filepath.Join(dir, wire.FileKey, "below")); err == nil {
		t.Error("a folder within a file was made")
	}
}

package arch

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// versions are the modules that a go.mod requires.
func versions(t *testing.T, dir string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("reading %s/go.mod: %v", dir, err)
	}
	type module struct{ Path, Version string }
	var mod struct {
		Require []module
		Replace []struct{ Old, New module }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, r := range mod.Require {
		all[r.Path] = r.Version
	}
	for _, r := range mod.Replace {
		if all[r.Old.Path] != "" && r.Old.Path == r.New.Path {
			all[r.Old.Path] = r.New.Version
		}
	}
	return all
}

// TestModulesAgree holds both modules to the same versions: one that differs has everything above it compiled twice, which for client-go
// are minutes of a cold `make test`.
func TestModulesAgree(t *testing.T) {
	main, cluster := versions(t, "../.."), versions(t, "../cluster")
	shared := 0
	for path, version := range main {
		other, ok := cluster[path]
		if !ok {
			continue
		}
		if shared++; other != version {
			t.Errorf("%s: %s here, %s in tests/cluster", path, version, other)
		}
	}
	if shared == 0 {
		t.Error("the modules share nothing: this test looks at the wrong files")
	}
}

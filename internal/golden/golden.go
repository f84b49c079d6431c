// Package golden runs txtar cases: one file per case, a comment that says why the case exists, inputs, and want/... sections. With
// -update it rewrites the sections that a case names. It is imported by tests only.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

const wantPrefix = "want/"

// update is set by -update.
var update = flag.Bool("update", false, "rewrite the want sections of golden cases")

// Case is one txtar file.
type Case struct {
	Name  string            // file name without extension
	Why   string            // the comment
	Files map[string]string // every section that is not want/...
}

// Run calls f for every dir/*.txtar and compares what it returns (section name without want/ -> text) with the want/... sections
// that the case names. Sections that a case does not name are not compared.
func Run(t *testing.T, dir string, f func(t *testing.T, c Case) map[string]string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden cases in %s (%v)", dir, err)
	}
	sort.Strings(paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { run(t, path, f) })
	}
}

func run(t *testing.T, path string, f func(t *testing.T, c Case) map[string]string) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := Case{Name: strings.TrimSuffix(filepath.Base(path), ".txtar"), Why: strings.TrimSpace(string(archive.Comment)), Files: map[string]string{}}
	if c.Why == "" {
		t.Fatalf("%s: no comment says why this case exists", path)
	}
	wants := 0
	for _, file := range archive.Files {
		if strings.HasPrefix(file.Name, wantPrefix) {
			wants++
			continue
		}
		c.Files[file.Name] = string(file.Data)
	}
	if wants == 0 {
		t.Fatalf("%s: no want/ section", path)
	}
	got := f(t, c)
	for i, file := range archive.Files {
		name, isWant := strings.CutPrefix(file.Name, wantPrefix)
		if !isWant {
			continue
		}
		text, known := got[name]
		if !known {
			t.Errorf("%s: the test makes no section %q", path, name)
			continue
		}
		text = strings.TrimRight(text, "\n") + "\n"
		if *update {
			archive.Files[i].Data = []byte(text)
			continue
		}
		if diff := cmp.Diff(string(file.Data), text); diff != "" {
			t.Errorf("%s: %s\nsection %s (-want +got):\n%s", path, c.Why, file.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// File compares a whole file with text, or rewrites it with -update.
func File(t *testing.T, path string, text []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(old), string(text)); diff != "" {
		t.Errorf("%s is not what would be written (-is +would be); rewrite it with -update:\n%s", path, diff)
	}
}

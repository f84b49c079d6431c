package main

import (
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestVetIsWhole holds that this program looks for all that the `go vet` of the installed Go looks for.
func TestVetIsWhole(t *testing.T) {
	passes := func(file string) (all []string) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if strings.Contains(i.Path.Value, "/analysis/passes/") {
				all = append(all, i.Path.Value)
			}
		}
		slices.Sort(all)
		return all
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := passes(filepath.Join(strings.TrimSpace(string(root)), "src", "cmd", "vet", "main.go")), passes("vet.go")
	if len(theirs) < 30 || !slices.Equal(theirs, ours) {
		t.Errorf("vet.go has %d checks of\n%v,\nit should have\n%v", len(vet), ours, theirs)
	}
	if len(vet) != len(ours) {
		t.Errorf("%d packages of checks, and %d checks", len(ours), len(vet))
	}
}

package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

const (
	maxFunc     = 80   // lines
	maxFuncMain = 120  // lines, in package main and for tables
	maxFile     = 600  // lines
	maxPackage  = 3000 // lines, without tests
	maxParams   = 6
)

func TestSizes(t *testing.T) {
	for _, p := range load(t) {
		total := 0
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if ast.IsGenerated(file) {
				continue
			}
			lines := fset.File(file.Pos()).LineCount()
			total += lines
			judge(t, p.rel()+"/"+name, lines, maxFile, "file")
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					function(t, p, fset, f)
				}
			}
		}
		judge(t, p.rel(), total, maxPackage, "package")
	}
}

func function(t *testing.T, p pkg, fset *token.FileSet, f *ast.FuncDecl) {
	id := p.rel() + "." + f.Name.Name
	limit := maxFunc
	if p.Name == "main" {
		limit = maxFuncMain
	}
	judge(t, id, fset.Position(f.End()).Line-fset.Position(f.Pos()).Line+1, limit, "function")
	if n := f.Type.Params.NumFields(); n > maxParams {
		t.Errorf("%s has %d parameters, more than %d: make a struct", id, n, maxParams)
	}
	if f.Name.Name == "init" && f.Recv == nil && !strings.HasPrefix(p.rel(), "tests/") {
		t.Errorf("%s: no init functions: wire by hand in main", p.rel())
	}
}

func judge(t *testing.T, id string, lines, limit int, kind string) {
	if lines > limit {
		t.Errorf("%s %s has %d lines, more than %d: split it", kind, id, lines, limit)
	}
}

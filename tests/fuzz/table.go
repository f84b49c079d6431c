package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is a fuzz target.
type target struct {
	pkg  string // its folder below the root, with slashes
	name string
}

// String prints a target as the table has it.
func (t target) String() string { return t.pkg + "." + t.name }

// targets finds the fuzz targets of the module below root.
func targets(root string) ([]target, error) {
	var out []target
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root:
			_, module := os.Stat(filepath.Join(path, "go.mod"))
			if name := d.Name(); module == nil || name == "testdata" || name[0] == '.' || name[0] == '_' {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("\nfunc Fuzz")) { // most have none, and parsing all would take seconds
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				out = append(out, target{filepath.ToSlash(pkg), f.Name.Name})
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b target) int { return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.name, b.name)) })
	return out, err
}

// table is the CPU time that targets have had, in minutes.
type table map[target]float64

var row = regexp.MustCompile(`(?m)^\| (\S+) \| (Fuzz\S*) \| ([0-9.]+) \|$`)

// parse reads a page.
func parse(text string) table {
	out := table{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.ParseFloat(m[3], 64); err == nil {
			out[target{m[1], m[2]}] = n
		}
	}
	return out
}

const intro = `# How long the parsers were fuzzed

This page is written by ` + "`make fuzz`" + `, which runs every fuzz target of the tree for a while (` + "`make fuzz FUZZTIME=10m`" + `) and adds the CPU time that it took, without
what compiling it took. What the targets learn is kept in ` + "`~/.cache/heddle/fuzz`" + ` and used again. What makes a target fail is written to its package's
` + "`testdata/fuzz`" + `, and is a test from then on.

| package | target | CPU minutes |
| --- | --- | ---: |
`

// print writes a page with a line for each target that there is; what is known of others is forgotten.
func (t table) print(all []target) string {
	var b strings.Builder
	b.WriteString(intro)
	for _, x := range all {
		fmt.Fprintf(&b, "| %s | %s | %.1f |\n", x.pkg, x.name, t[x])
	}
	return b.String()
}

// read reads the page; where there is none, nothing has been fuzzed.
func read() (table, error) {
	text, err := os.ReadFile(page)
	if os.IsNotExist(err) {
		return table{}, nil
	}
	return parse(string(text)), err
}

// add adds what a target has had to the page, and returns how much that is in all, in minutes.
func add(all []target, x target, spent time.Duration) (float64, error) {
	t, err := read()
	if err != nil {
		return 0, err
	}
	t[x] += spent.Minutes()
	return t[x], os.WriteFile(page, []byte(t.print(all)), 0o644)
}

// Command lint is `go vet` and staticcheck in one, so that dependencies are read once. It goes without the few checks of staticcheck that have to know
// what the bodies of dependencies do: those of Kubernetes' and Helm's libraries cost more than all the rest. With -all, which `make test-long` uses,
// it has those too.
package main

import (
	"os"
	"slices"

	"golang.org/x/tools/go/analysis"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/lintcmd"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
	"honnef.co/go/tools/unused"
)

func main() {
	all := slices.Contains(os.Args[1:], "-all")
	cmd := lintcmd.NewCommand("lint")
	cmd.ParseFlags(slices.DeleteFunc(os.Args[1:], func(arg string) bool { return arg == "-all" }))
	for _, a := range slices.Concat(simple.Analyzers, staticcheck.Analyzers, stylecheck.Analyzers, []*lint.Analyzer{unused.Analyzer}) {
		if all || !reads(a.Analyzer) {
			cmd.AddAnalyzers(a)
		}
	}
	for _, a := range vet {
		cmd.AddAnalyzers(&lint.Analyzer{Doc: &lint.RawDocumentation{Title: a.Doc}, Analyzer: a})
	}
	cmd.Run()
}

// reads says whether a check needs facts that come from the bodies of dependencies' functions.
func reads(a *analysis.Analyzer) bool {
	return len(a.FactTypes) > 0 && bodies(a) || slices.ContainsFunc(a.Requires, reads)
}

// bodies says whether an analyzer looks at functions in SSA form.
func bodies(a *analysis.Analyzer) bool {
	return a.Name == "buildir" || slices.ContainsFunc(a.Requires, bodies)
}

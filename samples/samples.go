// Package samples carries every sample's YAML and README, so that the tour applies the very files that the READMEs name, and the tests run
// what the READMEs say.
package samples

import (
	"embed"
	"io/fs"
	"strings"
)

// FS holds the samples' YAML by path, "canary/90-10.yaml", and their READMEs.
//
//go:embed */*.yaml */README.md
var FS embed.FS

// The kinds of fenced blocks in a README: what a reader runs, and what `make demo` has done before.
const (
	Commands = "sh"
	Setup    = "sh setup"
)

// Readmes lists the READMEs by path.
func Readmes() ([]string, error) { return fs.Glob(FS, "*/README.md") }

// Blocks returns the commands in a README's fenced blocks of a kind, block by block. Lines that are indented, and the one after them, belong to
// the command before.
func Blocks(readme, kind string) [][]string {
	var out [][]string
	inside, indented := false, false
	for line := range strings.Lines(readme) {
		line = strings.TrimRight(line, " \n")
		last := len(out) - 1
		switch {
		case strings.HasPrefix(line, "```") && inside:
			inside = false
		case line == "```"+kind:
			inside, indented = true, false
			out = append(out, nil)
		case !inside || line == "":
		case strings.HasPrefix(line, " ") || indented:
			block := out[last]
			block[len(block)-1] += "\n" + line
			indented = strings.HasPrefix(line, " ")
		default:
			out[last] = append(out[last], line)
		}
	}
	return out
}

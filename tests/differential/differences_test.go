package differential

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/internal/golden"
)

// allowed is what may differ, as testdata/differences.yaml lists it.
type allowed struct {
	Chapters []struct {
		Name        string
		About       string
		Differences []*entry
	}
}

// entry is one way to differ.
type entry struct {
	Title string
	Why   string
	Where []*place
	// Sometimes says that it is chance whether the difference shows.
	Sometimes bool
	// Test is what holds a difference that no case shows: "package TestName".
	Test string
}

// place says in which cases, and in which fact, with which values. "*" stands for any text; an empty value for any.
type place struct {
	Cases  string
	What   string
	Envoy  string
	Heddle string

	patterns [4]*regexp.Regexp
	used     bool
}

func loadAllowed(t *testing.T) *allowed {
	t.Helper()
	data, err := os.ReadFile("testdata/differences.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var a allowed
	if err := yaml.UnmarshalStrict(data, &a); err != nil {
		t.Fatal(err)
	}
	for _, e := range a.entries() {
		if e.Title == "" || e.Why == "" || (len(e.Where) == 0) == (e.Test == "") {
			t.Errorf("%q: an entry has a title, a reason and a place, or else a test", e.Title)
		}
		for _, p := range e.Where {
			for i, text := range []string{p.Cases, p.What, p.Envoy, p.Heddle} {
				if p.patterns[i], err = glob(text); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return &a
}

func (a *allowed) entries() []*entry {
	var out []*entry
	for _, c := range a.Chapters {
		out = append(out, c.Differences...)
	}
	return out
}

// glob makes a pattern of text in which "*" stands for any text, and "|" between spaces for alternatives.
func glob(text string) (*regexp.Regexp, error) {
	if text == "" {
		text = "*"
	}
	var parts []string
	for alternative := range strings.SplitSeq(text, " || ") {
		parts = append(parts, strings.ReplaceAll(regexp.QuoteMeta(alternative), `\*`, `.*`))
	}
	return regexp.Compile(`(?s)^(?:` + strings.Join(parts, "|") + `)$`)
}

// covers says whether a difference is listed, and notes that its entry is needed.
func (a *allowed) covers(d difference) bool {
	found := false
	for _, e := range a.entries() {
		for _, p := range e.Where {
			if p.patterns[0].MatchString(d.Case) && p.patterns[1].MatchString(d.What) && p.patterns[2].MatchString(d.Envoy) && p.patterns[3].MatchString(d.Heddle) {
				p.used, found = true, true
			}
		}
	}
	return found
}

// unused are the places at which nothing differs any more.
func (a *allowed) unused() []string {
	var out []string
	for _, e := range a.entries() {
		for _, p := range e.Where {
			if !p.used && !e.Sometimes {
				out = append(out, fmt.Sprintf("%s: %s, %s", e.Title, p.Cases, p.What))
			}
		}
	}
	return out
}

// TestTestsThatAreNamed holds that the tests exist which the list names in place of cases.
func TestTestsThatAreNamed(t *testing.T) {
	for _, e := range loadAllowed(t).entries() {
		if e.Test == "" {
			continue
		}
		folder, name, _ := strings.Cut(e.Test, " ")
		files, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			source, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(source), "\nfunc "+name+"(")
		}) {
			t.Errorf("%s: there is no %s", e.Title, e.Test)
		}
	}
}

// TestDocument holds that docs/differences.md says what the test allows.
func TestDocument(t *testing.T) {
	golden.File(t, "../../docs/differences.md", loadAllowed(t).document())
}

func (a *allowed) document() []byte {
	var b strings.Builder
	b.WriteString("# Where heddle-proxy differs from Envoy\n\n" +
		"This page is generated from [tests/differential/testdata/differences.yaml](../tests/differential/testdata/differences.yaml): `go test ./tests/differential -run TestDocument -update`.\n" +
		"`TestEnvoyAndHeddle` sends the same requests through both proxies, with the same xDS, and fails on every difference that is not here, and on every entry here that it does not find,\n" +
		"but for the last chapter's.\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ", "*", "…", "<", "&lt;")
	for _, c := range a.Chapters {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", c.Name, strings.TrimSpace(c.About))
		for _, e := range c.Differences {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", e.Title, strings.TrimSpace(e.Why))
			if folder, name, ok := strings.Cut(e.Test, " "); ok {
				fmt.Fprintf(&b, "`%s` in [%s](../%s) holds it.\n", name, folder, folder)
				continue
			}
			b.WriteString("| requests | what | Envoy | heddle-proxy |\n| --- | --- | --- | --- |\n")
			for _, p := range e.Where {
				row := []string{p.Cases, p.What, p.Envoy, p.Heddle}
				for i := range row {
					if row[i] == "" {
						row[i] = "*"
					}
					row[i] = cell.Replace(row[i])
				}
				fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			}
		}
	}
	return []byte(b.String())
}

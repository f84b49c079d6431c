package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/samples"
	"github.com/heddle-mesh/heddle/tests/tour"
)

const kubeconfigText = `apiVersion: v1
kind: Config
clusters: [{name: NAME, cluster: {server: "https://NAME.invalid"}}]
users: [{name: NAME, user: {token: secret}}]
contexts: [{name: NAME, context: {cluster: NAME, user: NAME}}]
`

// A context of the user's may be in any of the files that KUBECONFIG names; the demo's own cluster is in the demo's own file.
func TestAccess(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"one", "two", "own"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(kubeconfigText, "NAME", name)), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	own := strings.Replace(kubeconfigText, "apiVersion: v1\n", "apiVersion: v1\ncurrent-context: own\n", 1)
	if err := os.WriteFile(paths[2], []byte(strings.ReplaceAll(own, "NAME", "own")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", paths[0]+string(os.PathListSeparator)+paths[1])
	for host, p := range map[string]*play{
		"https://one.invalid": {options: options{context: "one"}},
		"https://two.invalid": {options: options{context: "two"}},
		"https://own.invalid": {own: true, kubeconfig: paths[2]},
	} {
		config, err := p.access().ClientConfig()
		if err != nil || config.Host != host {
			t.Errorf("want %s: %v (%v)", host, config, err)
		}
	}
	if _, err := (&play{options: options{context: "three"}}).access().ClientConfig(); err == nil {
		t.Error("a context that is in no file leads somewhere")
	}
}

// What the samples' READMEs say that the demo has done, it does: the gateways are installed with the same arguments. The Secrets are compared in
// tests/tour, and the loop that makes certificates is instead of the demo's authority.
func TestSetupOfTheReadmes(t *testing.T) {
	paths, err := samples.Readmes()
	if err != nil {
		t.Fatal(err)
	}
	left := maps.Clone(ingresses)
	maps.Copy(left, egresses)
	for _, path := range paths {
		text, err := fs.ReadFile(samples.FS, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range slices.Concat(samples.Blocks(string(text), samples.Setup)...) {
			words := strings.Fields(command)
			switch {
			case strings.HasPrefix(command, "kubectl -n heddle-gateways create secret "), strings.HasPrefix(command, "for host in "):
			case len(words) < 6 || !slices.Equal(words[:3], []string{"meshctl", "gateway", "install"}):
				t.Errorf("%s: the demo does not do: %s", path, command)
			default:
				want, known := left[words[3]]
				if !known || !slices.Equal(words[4:6], []string{"--namespace", tour.GatewayNamespace}) || !slices.Equal(words[6:], want) {
					t.Errorf("%s: the demo does this with %q: %s", path, want, command)
				}
				delete(left, words[3])
			}
		}
	}
	if len(left) > 0 {
		t.Errorf("no README tells of %v", left)
	}
}

// What the demo prints at its end is typed by people on machines that may have neither program.
func TestFarewell(t *testing.T) {
	want := `its cluster:       export KUBECONFIG=/state/kubeconfig
kubectl, meshctl:  export PATH="$PATH:/state/bin:/tree/bin"
stop it all:       make cluster-down
`
	if got := farewell("/state/kubeconfig", "/tree"); got != want {
		t.Errorf("it says:\n%s\nwant:\n%s", got, want)
	}
}

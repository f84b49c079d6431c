package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// program builds a small static binary.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "prog")
	if err := os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", out, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GO111MODULE=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

func standard(t *testing.T) options {
	t.Helper()
	roots := filepath.Join(t.TempDir(), "roots.crt")
	if err := os.WriteFile(roots, []byte("the roots"), 0o600); err != nil {
		t.Fatal(err)
	}
	return options{version: "v1", prefix: "heddle.local/", arch: "amd64", user: "1337", roots: roots, limit: 40e6}
}

func TestEqualInputsMakeEqualArchives(t *testing.T) {
	o, im := standard(t), image{"demo", []binary{{"prog", program(t)}}}
	var archives [2][]byte
	for i := range archives {
		path := filepath.Join(t.TempDir(), "demo.tar")
		if _, err := write(o, im, path); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = data
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same inputs differ")
	}
}

func TestArchiveIsALayoutWithNameUserAndFiles(t *testing.T) {
	o, path := standard(t), filepath.Join(t.TempDir(), "demo.tar")
	if _, err := write(o, image{"demo", []binary{{"prog", program(t)}}}, path); err != nil {
		t.Fatal(err)
	}
	files := untar(t, path)
	var index v1.IndexManifest
	decode(t, files["index.json"], &index)
	if got := index.Manifests[0].Annotations["io.containerd.image.name"]; got != "heddle.local/demo:v1" {
		t.Errorf("the image is called %q", got)
	}
	var manifest v1.Manifest
	decode(t, files[blob(index.Manifests[0].Digest)], &manifest)
	var config v1.ConfigFile
	decode(t, files[blob(manifest.Config.Digest)], &config)
	if config.Config.User != "1337:1337" || config.Architecture != "amd64" || strings.Join(config.Config.Entrypoint, " ") != "/prog" {
		t.Errorf("config %+v", config.Config)
	}
	for _, l := range manifest.Layers {
		if _, ok := files[blob(l.Digest)]; !ok {
			t.Errorf("layer %s is missing", l.Digest)
		}
	}
	if len(manifest.Layers) != 2 {
		t.Errorf("%d layers", len(manifest.Layers))
	}
}

func TestRefusals(t *testing.T) {
	good := program(t)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*options)
		binary string
		want   string
	}{
		"too large":               {func(o *options) { o.limit = 100 }, good, "permitted"},
		"another machine's":       {func(o *options) { o.arch = "arm64" }, good, "not for arm64"},
		"an unknown architecture": {func(o *options) { o.arch = "mips" }, good, "neither"},
		"no program":              {func(*options) {}, text, "not a Linux program"},
		"no roots":                {func(o *options) { o.roots = "/absent" }, good, "CA roots"},
		"no file":                 {func(*options) {}, "/absent", "reading binary"},
	} {
		t.Run(name, func(t *testing.T) {
			o, path := standard(t), filepath.Join(t.TempDir(), "demo.tar")
			c.change(&o)
			_, err := write(o, image{"demo", []binary{{"prog", c.binary}}}, path)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("an archive is left behind")
			}
		})
	}
}

func TestParseImage(t *testing.T) {
	im, err := parseImage("demo=bin/a,b:bin/c")
	if err != nil || im.name != "demo" || len(im.binaries) != 2 || im.binaries[0] != (binary{"a", "bin/a"}) || im.binaries[1] != (binary{"b", "bin/c"}) {
		t.Errorf("got %+v, %v", im, err)
	}
	for _, bad := range []string{"", "demo", "=bin/a", "demo=", "demo=x/y:bin/a"} {
		if im, err := parseImage(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, im)
		}
	}
}

func untar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
}

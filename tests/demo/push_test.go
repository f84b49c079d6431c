package main

import (
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// What manifests/images writes, a registry has afterwards.
func TestPush(t *testing.T) {
	folder := t.TempDir()
	program := exec.Command("go", "build", "-o", filepath.Join(folder, "program"), "./testdata")
	program.Env = append(program.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := program.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	images := exec.Command("go", "run", "../../manifests/images", "-roots", "", "-version", "v1", "-out", folder, "program="+filepath.Join(folder, "program"))
	if out, err := images.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	server := httptest.NewServer(registry.New())
	defer server.Close()
	to := strings.TrimPrefix(server.URL, "http://") + "/mesh/program:v1"
	if err := push(t.Context(), filepath.Join(folder, "program.tar"), to); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	if about, err := image.ConfigFile(); err != nil || len(about.RootFS.DiffIDs) == 0 {
		t.Errorf("the registry has %+v (%v)", about, err)
	}
}

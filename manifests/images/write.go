package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is every file's time, so that equal inputs make equal archives.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// write makes one archive and returns its size in bytes. An archive over the limit is not kept.
func write(o options, im image, path string) (size int64, err error) {
	built, err := build(o, im)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".image-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := archive(f, built, o.prefix+im.name+":"+o.version, o.version); err != nil {
		return 0, err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	if size > o.limit {
		return size, fmt.Errorf("it has %.1f MB, at most %.0f are permitted", float64(size)/1e6, float64(o.limit)/1e6)
	}
	if err := f.Chmod(0o644); err != nil {
		return size, err
	}
	return size, os.Rename(f.Name(), path)
}

// build makes the image on an empty base: one layer of files that never change, one of binaries.
func build(o options, im image) (v1.Image, error) {
	base, err := baseFiles(o)
	if err != nil {
		return nil, err
	}
	programs, err := programFiles(o, im)
	if err != nil {
		return nil, err
	}
	built := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	built = mutate.ConfigMediaType(built, types.OCIConfigJSON)
	for _, files := range [][]file{base, programs} {
		layer, err := layerOf(files)
		if err != nil {
			return nil, err
		}
		if built, err = mutate.AppendLayers(built, layer); err != nil {
			return nil, err
		}
	}
	config, err := built.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created = o.arch, "linux", v1.Time{Time: epoch()}
	for i := range config.History {
		config.History[i].Created = v1.Time{Time: epoch()}
	}
	config.Config = v1.Config{
		User: o.user + ":" + o.user, WorkingDir: "/", Entrypoint: []string{"/" + im.binaries[0].name},
		Env:    []string{"PATH=/", "HOME=/tmp"},
		Labels: map[string]string{"org.opencontainers.image.title": im.name, "org.opencontainers.image.version": o.version},
	}
	if o.entrypoint != "" {
		config.Config.Entrypoint = strings.Split(o.entrypoint, ",")
	}
	return mutate.ConfigFile(built, config)
}

// file is an entry of a layer; a folder where it ends with a slash.
type file struct {
	name string
	mode int64
	data []byte
}

func baseFiles(o options) ([]file, error) {
	accounts := "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
	groups := "root:x:0:\nnogroup:x:65534:\n"
	if o.user != "0" && o.user != "65534" {
		accounts += fmt.Sprintf("heddle:x:%s:%s:heddle:/tmp:/sbin/nologin\n", o.user, o.user)
		groups += fmt.Sprintf("heddle:x:%s:\n", o.user)
	}
	files := []file{
		{"etc/", 0o755, nil},
		{"etc/group", 0o644, []byte(groups)},
		{"etc/nsswitch.conf", 0o644, []byte("hosts: files dns\n")},
		{"etc/passwd", 0o644, []byte(accounts)},
	}
	if o.roots != "" {
		roots, err := os.ReadFile(o.roots)
		if err != nil {
			return nil, fmt.Errorf("reading CA roots: %w", err)
		}
		files = append(files, file{"etc/ssl/", 0o755, nil}, file{"etc/ssl/certs/", 0o755, nil}, file{"etc/ssl/certs/ca-certificates.crt", 0o644, roots})
	}
	return append(files, file{"tmp/", 0o1777, nil}), nil
}

func programFiles(o options, im image) ([]file, error) {
	var files []file
	for _, b := range im.binaries {
		data, err := os.ReadFile(b.path)
		if err != nil {
			return nil, fmt.Errorf("reading binary: %w", err)
		}
		if err := checkStatic(data, o.arch); err != nil {
			return nil, fmt.Errorf("binary %s: %w", b.path, err)
		}
		files = append(files, file{b.name, 0o755, data})
	}
	return files, nil
}

// checkStatic refuses a binary that could not run in an empty image: of another machine, or in need of a loader.
func checkStatic(data []byte, arch string) error {
	machine, ok := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if !ok {
		return fmt.Errorf("architecture %q is neither amd64 nor arm64", arch)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not a Linux program: %w", err)
	}
	if f.Machine != machine {
		return fmt.Errorf("built for %v, not for %s", f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("dynamically linked: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

func layerOf(files []file) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: epoch(), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.DefaultCompression))
}

// archive writes an OCI image layout as a tar. The index names the image both ways: containerd reads the one, others the other.
func archive(w io.Writer, im v1.Image, ref, tag string) error {
	manifest, err := im.RawManifest()
	if err != nil {
		return err
	}
	digest, err := im.Digest()
	if err != nil {
		return err
	}
	config, err := im.RawConfigFile()
	if err != nil {
		return err
	}
	configName, err := im.ConfigName()
	if err != nil {
		return err
	}
	file, err := im.ConfigFile()
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Size: int64(len(manifest)), Digest: digest,
		Platform:    &v1.Platform{OS: file.OS, Architecture: file.Architecture},
		Annotations: map[string]string{"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": tag},
	}}})
	if err != nil {
		return err
	}
	t := newTar(w)
	t.add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	t.add("index.json", index)
	t.add(blob(digest), manifest)
	t.add(blob(configName), config)
	layers, err := im.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		t.addLayer(l)
	}
	return t.close()
}

func blob(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

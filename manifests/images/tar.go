package main

import (
	"archive/tar"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// tarWriter writes plain files and remembers the first error.
type tarWriter struct {
	tar *tar.Writer
	err error
}

func newTar(w io.Writer) *tarWriter { return &tarWriter{tar: tar.NewWriter(w)} }

func (t *tarWriter) add(name string, data []byte) {
	if t.err != nil {
		return
	}
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: epoch(), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	if t.err = t.tar.WriteHeader(h); t.err == nil {
		_, t.err = t.tar.Write(data)
	}
}

func (t *tarWriter) addLayer(l v1.Layer) {
	if t.err != nil {
		return
	}
	digest, err := l.Digest()
	if err != nil {
		t.err = err
		return
	}
	r, err := l.Compressed()
	if err != nil {
		t.err = err
		return
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.err = err
		return
	}
	t.add(blob(digest), data)
}

func (t *tarWriter) close() error {
	if t.err != nil {
		return t.err
	}
	return t.tar.Close()
}

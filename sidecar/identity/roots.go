package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Roots are the trust anchors of the mesh, read from a file that may be replaced at any time. A file that cannot be read or holds no
// certificate leaves the anchors as they were.
type Roots struct {
	path    string
	current atomic.Pointer[anchors]
}

type anchors struct {
	pem    []byte
	pool   *x509.CertPool
	all    []*x509.Certificate
	proven proven
}

// NewRoots returns the anchors that the PEM bundle at path will hold once Load was called.
func NewRoots(path string) *Roots {
	return &Roots{path: path}
}

// Load reads the file again and reports whether the anchors changed.
func (r *Roots) Load() (changed bool, err error) {
	data, err := os.ReadFile(r.path)
	if err != nil {
		return false, fmt.Errorf("reading trust anchors: %w", err)
	}
	if old := r.current.Load(); old != nil && bytes.Equal(old.pem, data) {
		return false, nil
	}
	all, err := parseBundle(data)
	if err != nil {
		return false, fmt.Errorf("reading trust anchors %s: %w", r.path, err)
	}
	pool := x509.NewCertPool()
	for _, cert := range all {
		pool.AddCert(cert)
	}
	r.current.Store(&anchors{pem: data, pool: pool, all: all})
	return true, nil
}

// parseBundle reads PEM certificates; anything else in the bundle is an error, since a half-read bundle would refuse good peers.
func parseBundle(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %q is not a certificate", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate: %w", err)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return all, nil
}

// Certificates returns the anchors; nil before the first successful Load.
func (r *Roots) Certificates() []*x509.Certificate {
	if a := r.current.Load(); a != nil {
		return a.all
	}
	return nil
}

// Verify returns the identity that chain (leaf first) proves at now for usage. The leaf must carry exactly one SPIFFE ID and nothing that
// makes it a CA, and lead to a current anchor.
func (r *Roots) Verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (spiffe.Identity, error) {
	if len(chain) == 0 {
		return spiffe.Identity{}, errors.New("verifying peer: no certificate")
	}
	a := r.current.Load()
	if a == nil {
		return spiffe.Identity{}, errors.New("verifying peer: no trust anchor is loaded")
	}
	p := proofOf(chain, usage)
	if peer, ok := a.proven.peer(p, now); ok {
		return peer, nil
	}
	peer, path, err := a.peer(chain, usage, now)
	if err == nil {
		a.proven.remember(p, now, peer, path)
	}
	return peer, err
}

// peer is Verify without a memory; it returns the path to an anchor as well.
func (a *anchors) peer(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (spiffe.Identity, []*x509.Certificate, error) {
	leaf := chain[0]
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return spiffe.Identity{}, nil, errors.New("verifying peer: its certificate is a CA's")
	}
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return spiffe.Identity{}, nil, fmt.Errorf("verifying peer: %w", err)
	}
	peer, err := spiffe.FromID(id)
	if err != nil {
		return spiffe.Identity{}, nil, fmt.Errorf("verifying peer: %w", err)
	}
	paths, err := a.verifyChain(chain, x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: now})
	if err != nil {
		return spiffe.Identity{}, nil, fmt.Errorf("verifying peer %s: %w", peer, err)
	}
	return peer, paths[0], nil
}

// VerifyHost checks that chain proves the DNS name host to a client at now.
func (r *Roots) VerifyHost(chain []*x509.Certificate, host string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("verifying server: no certificate")
	}
	a := r.current.Load()
	if a == nil {
		return errors.New("verifying server: no trust anchor is loaded")
	}
	if _, err := a.verifyChain(chain, x509.VerifyOptions{DNSName: host, CurrentTime: now}); err != nil {
		return fmt.Errorf("verifying server %s: %w", host, err)
	}
	return nil
}

func (a *anchors) verifyChain(chain []*x509.Certificate, options x509.VerifyOptions) ([][]*x509.Certificate, error) {
	options.Roots = a.pool
	options.Intermediates = x509.NewCertPool()
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	return chain[0].Verify(options)
}

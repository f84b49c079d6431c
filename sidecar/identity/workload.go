// Package identity holds who this proxy is: the key that it made, the certificate that the CA signed for it, and the mesh's trust anchors.
// It hands out a signer and a verifier; the key itself only to who asks for it by Options.Export. It never decides who may talk to whom, and
// never writes a key anywhere.
package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
)

const (
	signTimeout  = 10 * time.Second
	rootsEvery   = 2 * time.Second // how often the anchors' file is looked at
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 30 * time.Second
	jitter       = 0.1 // of a waiting time, both ways
)

// Options say who the workload is and how it proves it.
type Options struct {
	// Expected is the only identity that is accepted from the CA, but that the mesh's trust domain may be another by now: the one that the CA proves to be of.
	Expected  spiffe.Identity
	TTL       time.Duration // asked for; the CA may give less
	Authority Authority
	Roots     *Roots
	Log       *slog.Logger
	// Export, if set, is given each new certificate with its key before it is in force, and again with each change of the anchors. On an error
	// there is another try, with another key. Nil, as in every proxy of ours: the key never leaves this package.
	Export func(Material) error
	// Kept, if set, returns what Export was given by an earlier process; nothing where there is none. It is in force for as long as it would be accepted
	// from the CA. Nil, as in every pod: a new process asks for a new certificate.
	Kept func() (Material, error)
}

// Workload is this proxy's certificate, kept fresh by Run.
type Workload struct {
	options Options
	current atomic.Pointer[tls.Certificate]
	ready   chan struct{}
	once    sync.Once
}

// New returns a workload without a certificate.
func New(options Options) *Workload {
	return &Workload{options: options, ready: make(chan struct{})}
}

// Ready is closed once there is a certificate.
func (w *Workload) Ready() <-chan struct{} { return w.ready }

// Roots returns the anchors that judge peers.
func (w *Workload) Roots() *Roots { return w.options.Roots }

// Expected returns the identity that this workload claims.
func (w *Workload) Expected() spiffe.Identity { return w.options.Expected }

// Certificate returns the current chain with an opaque signer for its key; nil where there is none that is valid now.
func (w *Workload) Certificate() *tls.Certificate {
	cert := w.current.Load()
	if cert == nil || time.Now().After(cert.Leaf.NotAfter) {
		return nil
	}
	return cert
}

// Run keeps the certificate and the anchors fresh until ctx ends. Connections that are open keep what they were made with.
func (w *Workload) Run(ctx context.Context) error {
	timer := time.NewTimer(w.restore())
	defer timer.Stop()
	roots := time.NewTicker(rootsEvery)
	defer roots.Stop()
	backoff := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-roots.C:
			if w.reloadRoots() {
				timer.Reset(0)
			}
			continue
		case <-timer.C:
		}
		if err := w.renew(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			backoff = nextBackoff(backoff, w.remaining())
			w.options.Log.Warn("no new certificate", "identity", w.options.Expected.String(), "again_in", backoff, "error", err)
			timer.Reset(spread(backoff))
			continue
		}
		backoff = 0
		timer.Reset(w.untilRenewal())
	}
}

// untilRenewal is half of what is left of the certificate in force.
func (w *Workload) untilRenewal() time.Duration {
	return max(spread(time.Until(w.current.Load().Leaf.NotAfter)/2), firstBackoff)
}

// reloadRoots looks at the anchors' file and reports whether our own certificate no longer leads to an anchor.
func (w *Workload) reloadRoots() (renew bool) {
	changed, err := w.options.Roots.Load()
	if err != nil {
		w.options.Log.Warn("trust anchors stay as they were", "error", err)
	}
	if !changed {
		return false
	}
	w.options.Log.Info("trust anchors changed", "count", len(w.options.Roots.Certificates()))
	cert := w.Certificate()
	if cert == nil {
		return true // a failed renewal may have been for want of these anchors
	}
	chain, err := parseChain(cert.Certificate)
	if err != nil {
		return true
	}
	if _, err = w.options.Roots.Verify(chain, x509.ExtKeyUsageAny, time.Now()); err != nil {
		return true
	}
	if err := w.export(cert); err != nil {
		w.options.Log.Warn("new trust anchors are not handed out", "error", err)
		return true
	}
	return false
}

// renew makes a key, has it signed, checks what came back, and puts it in force.
func (w *Workload) renew(ctx context.Context) error {
	if w.options.Roots.Certificates() == nil {
		if _, err := w.options.Roots.Load(); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fmt.Errorf("making a certificate request: %w", err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	answer, err := w.options.Authority.Sign(ctx, csr, w.options.TTL)
	if err != nil {
		return err
	}
	cert, err := w.accept(answer, key)
	if err != nil {
		return fmt.Errorf("refusing the CA's answer: %w", err)
	}
	if err := w.export(cert); err != nil {
		return err
	}
	w.enforce(cert)
	return nil
}

// enforce puts a certificate in force.
func (w *Workload) enforce(cert *tls.Certificate) {
	w.current.Store(cert)
	w.once.Do(func() { close(w.ready) })
	w.options.Log.Info("certificate in force", "identity", cert.Leaf.URIs[0].String(), "serial", cert.Leaf.SerialNumber.Text(16),
		"until", cert.Leaf.NotAfter.UTC())
}

// ours reports whether an identity is our own, be it in the trust domain that the CA is of.
func (w *Workload) ours(id spiffe.Identity, domain string) bool {
	own := w.options.Expected
	if id.TrustDomain == domain {
		own.TrustDomain = domain
	}
	return id == own
}

// accept checks that the answer is for our key, carries exactly our identity and leads to an anchor.
func (w *Workload) accept(answer Answer, key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	chain, err := parseBundle([]byte(strings.Join(answer.Chain, "\n")))
	if err != nil {
		return nil, err
	}
	leaf := chain[0]
	if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(&key.PublicKey) {
		return nil, errors.New("the certificate is not for our key")
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) > 0 {
		return nil, errors.New("the certificate carries names beside the identity")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		id, err := w.options.Roots.Verify(chain, usage, time.Now())
		if err != nil {
			return nil, err
		}
		if !w.ours(id, answer.TrustDomain) {
			return nil, fmt.Errorf("the certificate is for %s, not for %s", id, w.options.Expected)
		}
	}
	cert := &tls.Certificate{PrivateKey: signer{key}, Leaf: leaf}
	for _, c := range chain {
		if c != leaf && c.CheckSignatureFrom(c) == nil {
			continue // peers have the root
		}
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

func parseChain(raw [][]byte) ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, 0, len(raw))
	for _, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate: %w", err)
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

// signer signs with a key and cannot be asked for it.
type signer struct{ key *ecdsa.PrivateKey }

// Public implements crypto.Signer.
func (s signer) Public() crypto.PublicKey { return s.key.Public() }

// Sign implements crypto.Signer.
func (s signer) Sign(random io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(random, digest, options)
}

// String keeps the key out of logs.
func (signer) String() string { return "redacted" }

// GoString keeps the key out of logs.
func (signer) GoString() string { return "redacted" }

// remaining is how long the current certificate is still valid; 0 where there is none.
func (w *Workload) remaining() time.Duration {
	if cert := w.Certificate(); cert != nil {
		return time.Until(cert.Leaf.NotAfter)
	}
	return 0
}

// nextBackoff doubles the last wait, but leaves room for ten tries in what remains of the certificate.
func nextBackoff(last, remaining time.Duration) time.Duration {
	longest := lastBackoff
	if remaining > 0 {
		longest = min(longest, remaining/10)
	}
	return max(min(2*last, longest), firstBackoff)
}

// spread moves d by up to the jitter, so that workloads started together do not renew together.
func spread(d time.Duration) time.Duration {
	return d + time.Duration((2*mathrand.Float64()-1)*jitter*float64(d))
}

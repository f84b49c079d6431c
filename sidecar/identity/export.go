package identity

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Material is what a workload proves itself by and whom it believes, PEM.
type Material struct {
	Key   []byte // PKCS #8
	Chain []byte // leaf first, without the root
	Roots []byte
}

// String keeps the key out of logs.
func (Material) String() string { return "redacted" }

// GoString keeps the key out of logs.
func (Material) GoString() string { return "redacted" }

// export hands out a certificate with its key and the anchors of now, where somebody wants them.
func (w *Workload) export(cert *tls.Certificate) error {
	if w.options.Export == nil {
		return nil
	}
	own, ok := cert.PrivateKey.(signer)
	anchors := w.options.Roots.current.Load()
	if !ok || anchors == nil {
		return errors.New("handing out the certificate: no key or no trust anchor")
	}
	key, err := x509.MarshalPKCS8PrivateKey(own.key)
	if err != nil {
		return fmt.Errorf("handing out the certificate: %w", err)
	}
	m := Material{Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), Roots: anchors.pem}
	for _, der := range cert.Certificate {
		m.Chain = append(m.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := w.options.Export(m); err != nil {
		return fmt.Errorf("handing out the certificate: %w", err)
	}
	return nil
}

// restore puts in force what was kept, and returns when to renew; at once where there is nothing of use.
func (w *Workload) restore() time.Duration {
	if w.options.Kept == nil {
		return 0
	}
	kept, err := w.options.Kept()
	if err == nil && len(kept.Chain) == 0 {
		return 0
	}
	var cert *tls.Certificate
	if err == nil {
		cert, err = w.accepted(kept)
	}
	if err != nil {
		w.options.Log.Info("the certificate that was kept is of no use", "error", err)
		return 0
	}
	w.enforce(cert)
	return w.untilRenewal()
}

// accepted checks what was kept as if it came from the CA, which was of its trust domain then.
func (w *Workload) accepted(kept Material) (*tls.Certificate, error) {
	if _, err := w.options.Roots.Load(); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(kept.Key)
	if block == nil {
		return nil, errors.New("no key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is of another kind")
	}
	chain, err := parseBundle(kept.Chain)
	if err != nil {
		return nil, err
	}
	return w.accept(Answer{Chain: []string{string(kept.Chain)}, TrustDomain: domainOf(chain[0])}, key)
}

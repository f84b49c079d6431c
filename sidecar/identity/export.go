package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
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

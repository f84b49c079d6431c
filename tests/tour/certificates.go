package tour

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Certificates are the demo's authority and the certificates that it signed for the two ingress hosts.
type Certificates struct {
	Pool *x509.CertPool
	CA   []byte             // PEM
	Host map[string]KeyPair // by host name
}

// KeyPair is PEM.
type KeyPair struct{ Cert, Key []byte }

// NewCertificates makes an authority and a certificate for each host, valid for a week.
func NewCertificates(hosts ...string) (*Certificates, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Demo authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(7 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("signing the authority: %w", err)
	}
	c := &Certificates{Pool: x509.NewCertPool(), CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Host: map[string]KeyPair{}}
	c.Pool.AppendCertsFromPEM(c.CA)
	for i, host := range hosts {
		pair, err := leaf(host, int64(i)+2, ca, caKey)
		if err != nil {
			return nil, err
		}
		c.Host[host] = pair
	}
	return c, nil
}

func leaf(host string, serial int64, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("making a key: %w", err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	if err != nil {
		return KeyPair{}, fmt.Errorf("signing for %s: %w", host, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("encoding a key: %w", err)
	}
	return KeyPair{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})}, nil
}

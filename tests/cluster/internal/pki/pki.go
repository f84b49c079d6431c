// Package pki makes the certificates and keys of a test cluster. It keeps nothing and writes no file.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

const lifetime = 10 * 365 * 24 * time.Hour

// Authority signs certificates.
type Authority struct {
	Certificate []byte // PEM
	Key         []byte // PEM
	cert        *x509.Certificate
	key         crypto.Signer
}

// Pair is a certificate and its key, both PEM.
type Pair struct{ Certificate, Key []byte }

// Subject says whom a certificate names.
type Subject struct {
	Name      string
	Groups    []string
	Hosts     []string
	Addresses []net.IP
}

// NewAuthority makes a self-signed authority.
func NewAuthority(name string, now time.Time) (*Authority, error) {
	template := template(pkix.Name{CommonName: name}, now)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	pair, cert, key, err := sign(template, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("making authority %s: %w", name, err)
	}
	return &Authority{Certificate: pair.Certificate, Key: pair.Key, cert: cert, key: key}, nil
}

// Issue makes a certificate that serves as a server's and as a client's.
func (a *Authority) Issue(s Subject, now time.Time) (Pair, error) {
	template := template(pkix.Name{CommonName: s.Name, Organization: s.Groups}, now)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames, template.IPAddresses = s.Hosts, s.Addresses
	pair, _, _, err := sign(template, a.cert, a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issuing %s: %w", s.Name, err)
	}
	return pair, nil
}

// AccountKey makes the key pair that signs service-account tokens: RSA, because every verifier of tokens knows it.
func AccountKey() (private, public []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, fmt.Errorf("making the service-account key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the service-account key: %w", err)
	}
	return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), block("PUBLIC KEY", der), nil
}

func template(name pkix.Name, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:   name,
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(lifetime),
	}
}

// sign makes a key and a certificate for it, self-signed where there is no parent.
func sign(t, parent *x509.Certificate, parentKey crypto.Signer) (Pair, *x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return Pair{}, nil, nil, err
	}
	if parent == nil {
		parent, parentKey = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), parentKey)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, nil, nil, err
	}
	return Pair{block("CERTIFICATE", der), block("EC PRIVATE KEY", keyDER)}, cert, key, nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

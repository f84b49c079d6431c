// Package authority holds the mesh's signing keys, in slots: current signs, next is already trusted and will sign, retired is
// still trusted. It makes the first key exactly once for all replicas. It signs what it is given; whether a certificate may be
// issued is decided by package issue, and no key ever leaves this package but into its Secret.
package authority

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Keys of the Secret's data. Next and retired may be absent.
const (
	KeyCurrentCert  = "current-cert.pem"
	KeyCurrentKey   = "current-key.pem"
	KeyNextCert     = "next-cert.pem"
	KeyNextKey      = "next-key.pem"
	KeyRetiredCerts = "retired-certs.pem" // any number of certificates
)

// Authority signs for one trust domain. It is immutable.
type Authority struct {
	trustDomain spiffeid.TrustDomain
	current     slot
	trusted     []*x509.Certificate // current, next, retired
}

// slot is a certificate that may sign, with its key.
type slot struct {
	cert   *x509.Certificate
	signer crypto.Signer
}

// Parse reads the data of the Secret. It refuses keys that do not fit their certificates, certificates that may not sign, and
// roots of another trust domain than these: one that was made for an alias signs for the trust domain as well.
func Parse(data map[string][]byte, trustDomain spiffeid.TrustDomain, aliases ...spiffeid.TrustDomain) (*Authority, error) {
	domains := append([]spiffeid.TrustDomain{trustDomain}, aliases...)
	current, err := parseSlot(data, KeyCurrentCert, KeyCurrentKey, domains)
	if err != nil {
		return nil, err
	}
	a := &Authority{trustDomain: trustDomain, current: current, trusted: []*x509.Certificate{current.cert}}
	if len(data[KeyNextCert]) > 0 {
		next, err := parseSlot(data, KeyNextCert, KeyNextKey, domains)
		if err != nil {
			return nil, err
		}
		a.trusted = append(a.trusted, next.cert)
	}
	retired, err := parseCerts(data[KeyRetiredCerts])
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", KeyRetiredCerts, err)
	}
	a.trusted = append(a.trusted, retired...)
	return a, nil
}

func parseSlot(data map[string][]byte, certKey, keyKey string, domains []spiffeid.TrustDomain) (slot, error) {
	certs, err := parseCerts(data[certKey])
	if err != nil {
		return slot{}, fmt.Errorf("reading %s: %w", certKey, err)
	}
	if len(certs) != 1 {
		return slot{}, fmt.Errorf("reading %s: %d certificates, want one", certKey, len(certs))
	}
	if err := maySign(certs[0], domains); err != nil {
		return slot{}, fmt.Errorf("reading %s: %w", certKey, err)
	}
	signer, err := parseKey(data[keyKey])
	if err != nil {
		return slot{}, fmt.Errorf("reading %s: %w", keyKey, err)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(certs[0].PublicKey) {
		return slot{}, fmt.Errorf("reading %s: it is not the key of %s", keyKey, certKey)
	}
	return slot{cert: certs[0], signer: signer}, nil
}

func maySign(cert *x509.Certificate, domains []spiffeid.TrustDomain) error {
	if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return errors.New("the certificate may not sign others")
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return fmt.Errorf("the certificate is not self-signed: %w", err)
	}
	for _, uri := range cert.URIs {
		if !slices.ContainsFunc(domains, func(td spiffeid.TrustDomain) bool { return uri.String() == td.IDString() }) {
			return fmt.Errorf("the root is of %s, not of trust domain %s, and of none of its aliases", uri, domains[0])
		}
	}
	return nil
}

// TrustDomain returns the domain that a signs for.
func (a *Authority) TrustDomain() spiffeid.TrustDomain { return a.trustDomain }

// Bundle returns what peers must trust.
func (a *Authority) Bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(a.trustDomain, a.trusted)
}

// BundlePEM returns Bundle as PEM.
func (a *Authority) BundlePEM() []byte {
	var out bytes.Buffer
	for _, cert := range a.trusted {
		_ = pem.Encode(&out, &pem.Block{Type: pemCertificate, Bytes: cert.Raw}) // a bytes.Buffer takes everything
	}
	return out.Bytes()
}

// Sign makes a certificate of the template for the public key and returns the chain: leaf first, root last. It chooses the serial
// number, and cuts the validity to that of the root.
func (a *Authority) Sign(template *x509.Certificate, public crypto.PublicKey) ([]*x509.Certificate, error) {
	root := a.current.cert
	if !template.NotBefore.Before(root.NotAfter) {
		return nil, fmt.Errorf("signing: the root expired at %s", root.NotAfter.UTC().Format(time.RFC3339))
	}
	leaf := *template
	if leaf.NotAfter.After(root.NotAfter) {
		leaf.NotAfter = root.NotAfter
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	leaf.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, &leaf, root, public, a.current.signer)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back what was signed: %w", err)
	}
	return []*x509.Certificate{cert, root}, nil
}

// serialBits is what RFC 5280 leaves of 20 octets for a positive number.
const serialBits = 159

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("choosing a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

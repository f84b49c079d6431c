package replica

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// authority stands for the mesh's: handshakes between proxies are done for real, with certificates that are worth nothing elsewhere and that
// nobody outside this process ever sees.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

// lifetime of its certificates, before and after now.
const lifetime = time.Hour

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	root := template(1)
	root.Subject, root.IsCA, root.BasicConstraintsValid, root.KeyUsage = pkix.Name{CommonName: "replica"}, true, true, x509.KeyUsageCertSign
	if a.cert, err = a.sign(root, root, key); err != nil {
		return nil, err
	}
	a.pool.AddCert(a.cert)
	return a, nil
}

func template(serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: now.Add(-lifetime), NotAfter: now.Add(lifetime), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func (a *authority) sign(of, parent *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, of, parent, &key.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// issue makes a certificate and key, as PEM, for a SPIFFE ID or for a DNS name.
func (a *authority) issue(name string) (certificate, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	of := template(2)
	if id, err := url.Parse(name); err == nil && id.Scheme == "spiffe" {
		of.URIs = []*url.URL{id}
	} else {
		of.DNSNames = []string{name}
	}
	cert, err := a.sign(of, a.cert, k)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, fmt.Errorf("writing a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// bundle is the root, as PEM.
func (a *authority) bundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// holder is a workload's certificate.
type holder struct{ certificate *tls.Certificate }

// Certificate implements mtls.Certificate.
func (h holder) Certificate() *tls.Certificate { return h.certificate }

func (a *authority) holder(identity string) (holder, error) {
	certificate, key, err := a.issue(identity)
	if err != nil {
		return holder{}, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	return holder{&pair}, err
}

// Verify implements mtls.Verifier.
func (a *authority) Verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (spiffe.Identity, error) {
	id, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		return spiffe.Identity{}, err
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: a.pool, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: now}); err != nil {
		return spiffe.Identity{}, err
	}
	return spiffe.FromID(id)
}

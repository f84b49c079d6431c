package simulation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// pki is the authority of the simulated mesh, and of the certificates at its gateways.
type pki struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newPKI(t *testing.T) *pki {
	p := &pki{t: t, key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "simulation"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	p.cert = p.sign(template, template, &p.key.PublicKey)
	p.pool.AddCert(p.cert)
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *pki) sign(template, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return cert
}

// issue makes a certificate for a SPIFFE ID, or for names separated by commas.
func (p *pki) issue(name string) (certificate, key []byte) {
	k := newKey(p.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if id, err := url.Parse(name); err == nil && id.Scheme == "spiffe" {
		template.URIs = []*url.URL{id}
	} else {
		alternatives(template, strings.Split(name, ","))
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		p.t.Fatal(err)
	}
	cert := p.sign(template, p.cert, &k.PublicKey)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// alternatives gives a certificate names: IP addresses, those of mail, and of DNS.
func alternatives(to *x509.Certificate, names []string) {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			to.IPAddresses = append(to.IPAddresses, ip)
		} else if strings.Contains(name, "@") {
			to.EmailAddresses = append(to.EmailAddresses, name)
		} else {
			to.DNSNames = append(to.DNSNames, name)
		}
	}
}

// outside is what a server shows to those who ask for a name: a certificate for that and for an address; for another name, where it is asked for an alias.
func (p *pki) outside(asked string) *tls.Certificate {
	if strings.HasPrefix(asked, "alias.") {
		asked = "origin.example.com"
	}
	return p.pair(asked + ",192.0.2.1")
}

// server is the content of a Secret: a certificate whose one name is the Secret's.
func (p *pki) server(secret string) (certificate, key []byte) { return p.issue(secret) }

// files writes what objects name as $CERTS/NAME.crt, $CERTS/NAME.key (of a certificate for that name) and $CERTS/ca.crt.
func (p *pki) files(text string) string {
	if !strings.Contains(text, "$CERTS/") {
		return text
	}
	dir := p.t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	write("ca.crt", p.bundle())
	for _, m := range regexp.MustCompile(`\$CERTS/([\w.]+)\.key`).FindAllStringSubmatch(text, -1) {
		certificate, key := p.issue(m[1])
		write(m[1]+".crt", certificate)
		write(m[1]+".key", key)
	}
	return strings.ReplaceAll(text, "$CERTS", dir)
}

func (p *pki) bundle() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p *pki) pair(name string) *tls.Certificate {
	pair, err := tls.X509KeyPair(p.issue(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return &pair
}

// holder is a workload's certificate.
type holder struct{ certificate *tls.Certificate }

func (h holder) Certificate() *tls.Certificate { return h.certificate }

func (p *pki) holder(identity string) holder { return holder{p.pair(identity)} }

// Verify implements mtls.Verifier.
func (p *pki) Verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (spiffe.Identity, error) {
	id, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		return spiffe.Identity{}, err
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: p.pool, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: now}); err != nil {
		return spiffe.Identity{}, err
	}
	return spiffe.FromID(id)
}

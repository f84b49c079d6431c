package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Material is a secret's content, PEM.
type Material struct {
	Chain, Key []byte // both or neither
	CA         []byte
	CRL        []byte // PEM or DER lists
	Staple     []byte // an OCSP response about the certificate, DER (RFC 6960)
}

// Secrets are the certificates and trust bundles that the control plane sends by name. A slot stays while its content changes, so
// that what refers to it need not.
type Secrets struct {
	mu    sync.Mutex
	slots map[string]*Secret
}

// NewSecrets returns no secrets.
func NewSecrets() *Secrets { return &Secrets{slots: map[string]*Secret{}} }

// Slot returns the secret of that name, empty where nothing was put into it yet.
func (s *Secrets) Slot(name string) *Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, ok := s.slots[name]
	if !ok {
		slot = &Secret{name: name}
		s.slots[name] = slot
	}
	return slot
}

// Put replaces the content of a secret. Content that cannot be used is an error, and the old one stays.
func (s *Secrets) Put(name string, m Material) error {
	next, err := m.parse()
	if err != nil {
		return err
	}
	s.Slot(name).content.Store(next)
	return nil
}

// Drop empties a secret: handshakes that need it fail.
func (s *Secrets) Drop(name string) { s.Slot(name).content.Store(nil) }

// Secret is one named slot.
type Secret struct {
	name    string
	content atomic.Pointer[content]
}

type content struct {
	certificate *tls.Certificate
	trust       *trust
	stapled     *tls.Certificate // certificate with an OCSP response; nil: there is none
	until       time.Time        // when stapled expires; zero: never
}

// trust is a CA bundle with its revocation lists.
type trust struct {
	pool  *x509.CertPool
	first *x509.Certificate // of the bundle, for dumps
	pem   []byte            // the bundle, for dumps
	crls  []*x509.RevocationList
}

// Name returns the secret's name.
func (s *Secret) Name() string { return s.name }

// Certificate returns the certificate in the slot, nil where there is none. An OCSP response that expired is left out: clients would take
// it for a revocation.
func (s *Secret) Certificate() *tls.Certificate {
	c := s.content.Load()
	switch {
	case c == nil:
		return nil
	case c.stapled != nil && (c.until.IsZero() || time.Now().Before(c.until)):
		return c.stapled
	}
	return c.certificate
}

// verify checks chain against the slot's CA bundle and revocation lists.
func (s *Secret) verify(chain []*x509.Certificate, options x509.VerifyOptions) error {
	c := s.content.Load()
	if c == nil || c.trust == nil {
		return fmt.Errorf("secret %s: no CA certificate has arrived", s.name)
	}
	return c.trust.verify(chain, options)
}

func (t *trust) verify(chain []*x509.Certificate, options x509.VerifyOptions) error {
	options.Roots = t.pool
	options.Intermediates = x509.NewCertPool()
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	paths, err := chain[0].Verify(options)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err = t.revoked(path, time.Now()); err == nil {
			return nil
		}
	}
	return err
}

func (m Material) parse() (*content, error) {
	out := &content{}
	if len(m.Chain)+len(m.Key) > 0 {
		cert, err := tls.X509KeyPair(m.Chain, m.Key)
		if err != nil {
			return nil, fmt.Errorf("tls_certificate: %w", err)
		}
		out.certificate = &cert
		if err := out.staple(m.Staple); err != nil {
			return nil, fmt.Errorf("tls_certificate.ocsp_staple: %w", err)
		}
	}
	if len(m.CA)+len(m.CRL) > 0 {
		pool, first := x509.NewCertPool(), firstCertificate(m.CA)
		if first == nil || !pool.AppendCertsFromPEM(m.CA) {
			return nil, errors.New("validation_context.trusted_ca: no certificate in it")
		}
		crls, err := parseCRLs(m.CRL)
		if err != nil {
			return nil, fmt.Errorf("validation_context.crl: %w", err)
		}
		out.trust = &trust{pool: pool, first: first, pem: m.CA, crls: crls}
	}
	if out.certificate == nil && out.trust == nil {
		return nil, errors.New("it holds neither a certificate nor a CA bundle")
	}
	return out, nil
}

// staple adds an OCSP response about the certificate. Who signed it is for clients to judge.
func (c *content) staple(der []byte) error {
	if len(der) == 0 {
		return nil
	}
	response, err := ocsp.ParseResponseForCert(der, c.certificate.Leaf, nil)
	if err != nil {
		return err
	}
	stapled := *c.certificate
	stapled.OCSPStaple = der
	c.stapled, c.until = &stapled, response.NextUpdate
	return nil
}

// firstCertificate returns the first certificate of a PEM bundle, nil where there is none.
func firstCertificate(data []byte) *x509.Certificate {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			return cert
		}
	}
	return nil
}

func parseCRLs(data []byte) ([]*x509.RevocationList, error) {
	var ders [][]byte
	for rest := data; ; {
		block, more := pem.Decode(rest)
		if block == nil {
			break
		}
		ders, rest = append(ders, block.Bytes), more
	}
	if len(ders) == 0 && len(data) > 0 {
		ders = [][]byte{data}
	}
	var out []*x509.RevocationList
	for _, der := range ders {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, err
		}
		out = append(out, list)
	}
	return out, nil
}

// Facts are what may be shown of a certificate.
type Facts struct {
	Name       string    `json:"name"`
	Serial     string    `json:"serial"`     // empty: no certificate has arrived
	Identities []string  `json:"identities"` // URI and DNS SANs
	NotBefore  time.Time `json:"not_before"`
	NotAfter   time.Time `json:"not_after"`
	Issuer     string    `json:"issuer"`
}

// Facts lists the certificates held, without anything secret.
func (s *Secrets) Facts() []Facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []Facts{}
	for _, slot := range s.slots {
		out = append(out, slot.facts())
	}
	slices.SortFunc(out, func(a, b Facts) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// facts describes the slot's certificate, or the first one of its CA bundle.
func (s *Secret) facts() Facts {
	switch c := s.content.Load(); {
	case c == nil:
	case c.certificate != nil && c.certificate.Leaf != nil:
		return FactsOf(s.name, c.certificate.Leaf)
	case c.trust != nil:
		return FactsOf(s.name, c.trust.first)
	}
	return Facts{Name: s.name, Identities: []string{}}
}

// Public returns the certificates in the slot, PEM: a chain, without its key, and a CA bundle; nil where there is none.
func (s *Secret) Public() (chain, ca []byte) {
	c := s.content.Load()
	if c == nil {
		return nil, nil
	}
	if c.certificate != nil {
		chain = PEM(c.certificate.Certificate...)
	}
	if c.trust != nil {
		ca = c.trust.pem
	}
	return chain, ca
}

// PEM writes certificates as PEM.
func PEM(certificates ...[]byte) []byte {
	var out []byte
	for _, der := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// FactsOf describes one certificate.
func FactsOf(name string, cert *x509.Certificate) Facts {
	f := Facts{Name: name, Serial: cert.SerialNumber.Text(16), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Issuer: cert.Issuer.String(),
		Identities: append([]string{}, cert.DNSNames...)}
	for _, uri := range cert.URIs {
		f.Identities = append(f.Identities, uri.String())
	}
	return f
}

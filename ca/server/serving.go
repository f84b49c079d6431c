package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// Serving is the control plane's own certificate: signed by the mesh's root, made when first asked for and again at half its
// life. It is safe for concurrent use.
type Serving struct {
	authority *authority.Authority
	identity  spiffe.Identity
	names     []string
	ttl       time.Duration
	now       func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate
	half time.Time // when to make the next
}

// NewServing returns the certificate of identity with the DNS names, each certificate lasting ttl. Now is time.Now but in tests.
func NewServing(a *authority.Authority, identity spiffe.Identity, names []string, ttl time.Duration, now func() time.Time) *Serving {
	return &Serving{authority: a, identity: identity, names: names, ttl: ttl, now: now}
}

// ServiceNames returns the DNS names of a Service.
func ServiceNames(service, namespace, clusterDomain string) []string {
	base := service + "." + namespace
	return []string{base + ".svc", base + ".svc." + clusterDomain, base, service}
}

// GetCertificate is for tls.Config. Where renewal fails, it answers with what it has while that is valid.
func (s *Serving) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.cert != nil && now.Before(s.half) {
		return s.cert, nil
	}
	cert, err := s.make(now)
	if err != nil {
		if s.cert != nil && now.Before(s.cert.Leaf.NotAfter) {
			return s.cert, nil
		}
		return nil, fmt.Errorf("making the serving certificate: %w", err)
	}
	s.cert, s.half = cert, now.Add(cert.Leaf.NotAfter.Sub(now)/2)
	return cert, nil
}

func (s *Serving) make(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	chain, err := s.authority.Sign(&x509.Certificate{
		DNSNames:              s.names,
		URIs:                  []*url.URL{s.identity.ID().URL()},
		NotBefore:             now.Add(-issue.DefaultBackdate),
		NotAfter:              now.Add(s.ttl),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, key.Public())
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key, Leaf: chain[0]}, nil
}

// DiscoveryTLS returns the configuration of the port that serves xDS and the CA: a client may show a certificate of this mesh, and
// one that does not verify ends the handshake.
func (s *Serving) DiscoveryTLS() *tls.Config {
	c := s.WebhookTLS()
	c.ClientAuth = tls.VerifyClientCertIfGiven
	c.ClientCAs = x509.NewCertPool()
	for _, root := range s.authority.Bundle().X509Authorities() {
		c.ClientCAs.AddCert(root)
	}
	c.NextProtos = []string{"h2"}
	return c
}

// WebhookTLS returns the configuration of the port that the API server calls.
func (s *Serving) WebhookTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.GetCertificate}
}

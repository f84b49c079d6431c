// Package mtls secures connections: handshakes as server and client, and the judgement of who the other side is. It is handed
// signers and verifiers, never keys of the workload; it decides who somebody is, never what they may do.
package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Certificate yields the certificate of the moment, nil where there is none: a workload's or a Secret's.
type Certificate interface {
	Certificate() *tls.Certificate
}

// ServerConfig is how a listener's chain accepts TLS.
type ServerConfig struct {
	Params       Params
	ALPN         []string
	Certificates []Certificate // the first that suits the client, else the first
	Peer         *Peer         // nil: clients are not asked who they are
	// Workload is the proxy's own certificate, which says what the mesh's trust domain is, and Mesh the mesh's anchors: for clients whom others vouch
	// for. Nil: there is no mesh.
	Workload Certificate
	Mesh     Verifier
	Domains  []string // further names of the mesh's trust domain
}

// Peer is what is asked of clients.
type Peer struct {
	Required bool // else a client without a certificate is taken as nobody
	Trust    Trust
	Names    []Name // one of them must be in the certificate; none: any will do
	Pins     Pins
}

// Server implements config.ServerTLS.
type Server struct {
	config     ServerConfig
	tls, plain *tls.Config // plain negotiates no protocol
}

// NewServer returns a server for c.
func NewServer(c ServerConfig) *Server {
	s := &Server{config: c}
	base := &tls.Config{NextProtos: c.ALPN, GetCertificate: s.certificate, VerifyConnection: s.judge}
	c.Params.apply(base)
	if c.Peer != nil {
		base.ClientAuth = tls.RequestClientCert
		if c.Peer.Required {
			base.ClientAuth = tls.RequireAnyClientCert
		}
		// A resumed session would save a fifth of the CPU, and be refused where a new one is not: docs/decisions/0043.
		base.SessionTicketsDisabled = true
	}
	s.plain = base.Clone()
	s.plain.NextProtos = nil
	base.GetConfigForClient = s.negotiable
	s.tls = base
	return s
}

// Config returns what the server was made of.
func (s *Server) Config() ServerConfig { return s.config }

// negotiable drops our protocols where the client offers none of them: crypto/tls would end the handshake, others go on
// without, and mesh clients count on that.
func (s *Server) negotiable(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	for _, p := range hello.SupportedProtos {
		if slices.Contains(s.config.ALPN, p) {
			return nil, nil
		}
	}
	return s.plain, nil
}

func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	var first *tls.Certificate
	for _, source := range s.config.Certificates {
		cert := source.Certificate()
		if cert == nil {
			continue
		}
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
		if first == nil {
			first = cert
		}
	}
	if first == nil {
		return nil, errors.New("no certificate is available")
	}
	return first, nil
}

// judge checks the client's certificate; crypto/tls itself checks only that the client holds its key.
func (s *Server) judge(state tls.ConnectionState) error {
	peer := s.config.Peer
	if peer == nil || len(state.PeerCertificates) == 0 && !peer.Required {
		return nil
	}
	_, err := peer.verify(state.PeerCertificates)
	return err
}

func (p *Peer) verify(chain []*x509.Certificate) (spiffe.Identity, error) {
	id, err := p.Trust.verify(chain, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return id, fmt.Errorf("refusing client: %w", err)
	}
	if len(p.Names) > 0 && !named(chain[0], p.Names) {
		return id, fmt.Errorf("refusing client %s: none of its names is accepted here", nameOf(chain[0]))
	}
	if !p.Pins.accept(chain[0]) {
		return id, fmt.Errorf("refusing client %s: neither its certificate nor its key is accepted here", nameOf(chain[0]))
	}
	return id, nil
}

// Pins are the only certificates that are accepted, by their SHA-256 or by that of their key (DER of SubjectPublicKeyInfo); either will do. None:
// any certificate.
type Pins struct{ Keys, Certificates [][sha256.Size]byte }

func (p Pins) accept(leaf *x509.Certificate) bool {
	return len(p.Keys)+len(p.Certificates) == 0 ||
		slices.Contains(p.Keys, sha256.Sum256(leaf.RawSubjectPublicKeyInfo)) || slices.Contains(p.Certificates, sha256.Sum256(leaf.Raw))
}

// Server implements config.ServerTLS.
func (s *Server) Server(ctx context.Context, raw net.Conn) (net.Conn, *exchange.Security, error) {
	conn := tls.Server(raw, s.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, fmt.Errorf("accepting TLS: %w", err)
	}
	security := describe(conn.ConnectionState())
	chain := conn.ConnectionState().PeerCertificates
	if security.Mutual = s.config.Peer != nil && len(chain) > 0; security.Mutual {
		security.Cert = chain[0].Raw
	}
	if !security.Mutual || s.config.Peer.Trust.Mesh == nil && !s.vouched(chain) {
		security.Identity, security.URIs = exchange.Identity{}, nil
		if security.Mutual {
			security.Claimed = uris(chain[0])
		}
	}
	security.LocalURI = s.localURI()
	return conn, security, nil
}

// vouched says whether a client whom somebody else than the mesh vouches for may have the identity that its certificate says: one of the mesh's trust
// domain, the mesh alone gives.
func (s *Server) vouched(chain []*x509.Certificate) bool {
	if s.config.Workload == nil || !slices.ContainsFunc(chain[0].URIs, func(u *url.URL) bool { return u.Scheme == "spiffe" }) {
		return true
	}
	own := s.config.Workload.Certificate()
	if own == nil || own.Leaf == nil || len(own.Leaf.URIs) != 1 {
		return false // what the mesh's is, is not known yet
	}
	ours := func(u *url.URL) bool {
		return strings.EqualFold(u.Host, own.Leaf.URIs[0].Host) || slices.ContainsFunc(s.config.Domains, func(d string) bool { return strings.EqualFold(u.Host, d) })
	}
	if !slices.ContainsFunc(chain[0].URIs, ours) {
		return true
	}
	if s.config.Mesh == nil {
		return false
	}
	_, err := s.config.Mesh.Verify(chain, x509.ExtKeyUsageClientAuth, time.Now())
	return err == nil
}

// Accepts implements config.ServerTLS.
func (s *Server) Accepts(security *exchange.Security) bool {
	return s.config.Peer == nil || !s.config.Peer.Required || security.Mutual
}

func (s *Server) localURI() string {
	if len(s.config.Certificates) == 0 {
		return ""
	}
	if cert := s.config.Certificates[0].Certificate(); cert != nil && cert.Leaf != nil && len(cert.Leaf.URIs) > 0 {
		return cert.Leaf.URIs[0].String()
	}
	return ""
}

// describe turns a finished handshake into facts. The caller says whether the peer's names were verified.
func describe(state tls.ConnectionState) *exchange.Security {
	s := &exchange.Security{SNI: state.ServerName, ALPN: state.NegotiatedProtocol, Version: versionName(state.Version),
		Cipher: tls.CipherSuiteName(state.CipherSuite)}
	if len(state.PeerCertificates) == 0 {
		return s
	}
	leaf := state.PeerCertificates[0]
	sum := sha256.Sum256(leaf.Raw)
	s.Hash, s.Subject, s.DNS = hex.EncodeToString(sum[:]), leaf.Subject.String(), leaf.DNSNames
	if len(leaf.URIs) > 1 {
		s.URIs = uris(leaf)
	}
	if len(leaf.URIs) == 1 {
		s.Identity.URI = leaf.URIs[0].String()
		if id, err := spiffe.Parse(s.Identity.URI); err == nil {
			s.Identity.TrustDomain, s.Identity.Namespace, s.Identity.ServiceAccount = id.TrustDomain, id.Namespace, id.ServiceAccount
		}
	}
	return s
}

func uris(leaf *x509.Certificate) []string {
	var out []string
	for _, u := range leaf.URIs {
		out = append(out, u.String())
	}
	return out
}

func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS10:
		return "TLSv1"
	}
	return ""
}

// nameOf names a certificate in errors.
func nameOf(leaf *x509.Certificate) string {
	if len(leaf.URIs) > 0 {
		return leaf.URIs[0].String()
	}
	if len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	return leaf.Subject.String()
}

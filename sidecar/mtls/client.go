package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// ClientConfig is how a cluster secures connections to its endpoints.
type ClientConfig struct {
	Params  Params
	SNI     string
	AutoSNI bool     // the endpoint's host name, where it has one; the name of the request comes before both
	ALPN    []string // as configured; what is offered also depends on the protocol

	Certificate Certificate // nil: the client stays anonymous
	Trust       Trust
	// Names are the acceptable names of the server. Where there are none and Trust is the mesh's, the server must have exactly the identity
	// that the endpoint's facts name (secure naming), and an endpoint without that fact is refused before anything is sent.
	Names []Name
	// Domains, each "spiffe://<trust domain>/", are those under all of which a workload has the same namespace and account. Beside Names, they accept the
	// endpoint's identity under any of them.
	Domains []string
	// NameFromSNI accepts the server under the name that was sent as SNI, beside Names.
	NameFromSNI bool
}

// byEndpoint says whether the endpoint's facts alone name who is acceptable.
func (c ClientConfig) byEndpoint() bool {
	return len(c.Names) == 0 && (c.Trust.Mesh != nil || len(c.Domains) > 0)
}

// isEndpoint says whether leaf has the identity of an endpoint: that very one or, with Domains, under any of these.
func (c ClientConfig) isEndpoint(leaf *x509.Certificate, identity string) bool {
	if identity == "" || !c.byEndpoint() && len(c.Domains) == 0 {
		return false
	}
	return slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool {
		if len(c.Domains) == 0 {
			return u.String() == identity
		}
		shown, ours := c.account(u.String())
		wanted, known := c.account(identity)
		return ours && known && shown == wanted
	})
}

// account is an identity without its trust domain; ok says whether that is one of Domains.
func (c ClientConfig) account(identity string) (path string, ok bool) {
	for _, domain := range c.Domains {
		if path, ok = strings.CutPrefix(identity, domain); ok {
			return path, true
		}
	}
	return "", false
}

// sessions is of how many servers' names a client remembers the last session, to resume it.
const sessions = 64

// Client implements upstream.Handshaker.
type Client struct {
	config ClientConfig
	bases  [exchange.HTTP2 + 1]*tls.Config
}

// NewClient returns a client for c.
func NewClient(c ClientConfig) *Client {
	client := &Client{config: c}
	for p := range client.bases {
		base := &tls.Config{
			NextProtos: c.offers(exchange.Protocol(p)),
			// crypto/tls knows only DNS names; VerifyConnection, set for each connection, judges in full, resumed sessions as well.
			InsecureSkipVerify: true,
			VerifyConnection:   unjudged,
		}
		c.Params.apply(base)
		if c.Certificate != nil {
			base.GetClientCertificate = client.certificate
		}
		if c.Certificate == nil && c.Trust.Mesh == nil { // who is anonymous has nothing to prove anew, and the server's proof is judged again
			base.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
		}
		client.bases[p] = base
	}
	return client
}

// unjudged refuses every server: nobody has said who is to be reached.
func unjudged(tls.ConnectionState) error { return errors.New("nothing judges the server") }

// Config returns what the client was made of.
func (c *Client) Config() ClientConfig { return c.config }

func (c *Client) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if cert := c.config.Certificate.Certificate(); cert != nil {
		return cert, nil
	}
	return nil, errors.New("no certificate is available")
}

// offers lists the ALPNs for one protocol. A list with "istio" is the mesh's: servers tell by it mesh traffic from an application's
// own TLS, and HTTP from other traffic.
func (c ClientConfig) offers(p exchange.Protocol) []string {
	if slices.Contains(c.ALPN, wire.ALPNMesh) {
		return MeshALPN(p)
	}
	switch p {
	case exchange.HTTP10, exchange.HTTP1: // h2 must not win where we are going to speak HTTP/1
		return slices.DeleteFunc(slices.Clone(c.ALPN), func(s string) bool { return s == "h2" })
	case exchange.HTTP2:
		return []string{"h2"}
	}
	return c.ALPN
}

// MeshALPN lists what is offered to the mesh's servers before p is spoken.
func MeshALPN(p exchange.Protocol) []string {
	switch p {
	case exchange.HTTP10:
		return []string{wire.ALPNHTTP10, wire.ALPNMesh, "http/1.0"}
	case exchange.HTTP1:
		return []string{wire.ALPNHTTP11, wire.ALPNMesh, "http/1.1"}
	case exchange.HTTP2:
		return []string{wire.ALPNHTTP2, wire.ALPNMesh, "h2"}
	}
	return []string{wire.ALPNMesh}
}

// serverName is what is sent as SNI: the request's host where that decides, else the endpoint's, else the setting's.
func (c ClientConfig) serverName(ep *exchange.Endpoint, name string) string {
	switch {
	case name != "":
		return name
	case c.AutoSNI && ep.Host != "":
		return ep.Host
	}
	return c.SNI
}

// Handshake implements upstream.Handshaker.
func (c *Client) Handshake(ctx context.Context, raw net.Conn, ep *exchange.Endpoint, name string, p exchange.Protocol) (net.Conn, *exchange.Security, error) {
	if c.config.byEndpoint() && ep.Identity == "" {
		return nil, nil, errors.New("TLS_error: the endpoint's identity is unknown")
	}
	config := c.bases[p].Clone()
	config.ServerName = c.config.serverName(ep, name)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := c.judge(state.PeerCertificates, ep, config.ServerName)
		if err != nil && state.DidResume { // the server may have another certificate by now; crypto/tls forgets the session
			err = fmt.Errorf("%w: %w", exchange.ErrSession, err)
		}
		return err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, fmt.Errorf("TLS_error: %w", err)
	}
	security := describe(conn.ConnectionState())
	security.Mutual = c.config.Trust.Mesh != nil
	if !security.Mutual {
		security.Identity = exchange.Identity{}
	}
	if c.config.Certificate != nil {
		if cert := c.config.Certificate.Certificate(); cert != nil && cert.Leaf != nil && len(cert.Leaf.URIs) > 0 {
			security.LocalURI = cert.Leaf.URIs[0].String()
		}
	}
	return conn, security, nil
}

// judge decides whether the server is who was to be reached.
func (c *Client) judge(chain []*x509.Certificate, ep *exchange.Endpoint, sni string) error {
	if _, err := c.config.Trust.verify(chain, x509.ExtKeyUsageServerAuth); err != nil {
		return fmt.Errorf("refusing server: %w", err)
	}
	if c.config.Trust.Nothing {
		return nil
	}
	switch {
	case c.config.isEndpoint(chain[0], ep.Identity):
		return nil
	case c.config.byEndpoint():
		return fmt.Errorf("refusing server %s: the endpoint's identity is %s", nameOf(chain[0]), ep.Identity)
	case len(c.config.Names) > 0 && named(chain[0], c.config.Names):
		return nil
	case c.config.NameFromSNI && sni != "" && chain[0].VerifyHostname(sni) == nil:
		return nil
	case len(c.config.Names) > 0 || c.config.NameFromSNI:
		return fmt.Errorf("refusing server %s: not a name that this destination has", nameOf(chain[0]))
	}
	return nil
}

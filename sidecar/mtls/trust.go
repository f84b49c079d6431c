package mtls

import (
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

// Verifier judges mesh peers by the current trust anchors; sidecar/identity has one.
type Verifier interface {
	// Verify returns the identity that chain proves for usage at now.
	Verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (spiffe.Identity, error)
}

// Trust says by what a peer's chain is judged: exactly one field is set. The zero value trusts nobody.
type Trust struct {
	Mesh    Verifier // the mesh's own anchors: the peer must be a workload
	Secret  *Secret  // a CA bundle that the control plane sends
	File    *File    // a CA bundle, or what was revoked, in this container
	System  bool     // the roots of the system
	Nothing bool     // no check at all: only where the user asked for it
}

func (t Trust) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage) (spiffe.Identity, error) {
	if len(chain) == 0 {
		return spiffe.Identity{}, errors.New("the peer showed no certificate")
	}
	options := x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{usage}}
	switch {
	case t.Mesh != nil:
		return t.Mesh.Verify(chain, usage, time.Now())
	case t.Secret != nil:
		return spiffe.Identity{}, t.Secret.verify(chain, options)
	case t.File != nil:
		loaded, err := t.File.load()
		if err != nil {
			return spiffe.Identity{}, err
		}
		return spiffe.Identity{}, loaded.verify(chain, options)
	case t.System:
		return spiffe.Identity{}, (&trust{}).verify(chain, options)
	case t.Nothing:
		return spiffe.Identity{}, nil
	}
	return spiffe.Identity{}, errors.New("no trust anchor is configured")
}

// NameType says which subject alternative names a Name looks at.
type NameType uint8

// The types.
const (
	AnyName NameType = iota // all of the following
	URIName
	DNSName
	EmailName
	AddressName // an IP address
)

// Name is one acceptable subject alternative name.
type Name struct {
	Type  NameType
	Match match.String
}

// named says whether leaf carries one of names.
func named(leaf *x509.Certificate, names []Name) bool {
	return slices.ContainsFunc(names, func(n Name) bool {
		return n.of(URIName) && slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return n.Match.Match(u.String()) }) ||
			n.of(DNSName) && slices.ContainsFunc(leaf.DNSNames, n.hosts) ||
			n.of(EmailName) && slices.ContainsFunc(leaf.EmailAddresses, n.Match.Match) ||
			n.of(AddressName) && slices.ContainsFunc(leaf.IPAddresses, func(ip net.IP) bool { return n.Match.Match(ip.String()) })
	})
}

func (n *Name) of(t NameType) bool { return n.Type == AnyName || n.Type == t }

// hosts says whether a DNS name of a certificate will do. Exact ones are compared as DNS compares them.
func (n *Name) hosts(dns string) bool {
	c := n.Match.Config()
	if c.Kind != match.Exact {
		return n.Match.Match(dns)
	}
	dns, want := strings.ToLower(dns), strings.ToLower(c.Value)
	return dns == want || wildcard(dns, want)
}

// wildcard says whether the certificate's name pattern (*.suffix, one label) covers host.
func wildcard(pattern, host string) bool {
	if len(pattern) < 3 || pattern[:2] != "*." {
		return false
	}
	for i := range len(host) {
		if host[i] == '.' {
			return i > 0 && host[i:] == pattern[1:]
		}
	}
	return false
}

package mtls

import (
	"crypto/x509"
	"errors"
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
	AnyName NameType = iota // URI and DNS
	URIName
	DNSName
)

// Name is one acceptable subject alternative name.
type Name struct {
	Type  NameType
	Match match.String
}

// named says whether leaf carries one of names.
func named(leaf *x509.Certificate, names []Name) bool {
	for i := range names {
		n := &names[i]
		if n.Type != DNSName {
			for _, uri := range leaf.URIs {
				if n.Match.Match(uri.String()) {
					return true
				}
			}
		}
		if n.Type != URIName {
			for _, dns := range leaf.DNSNames {
				if n.Match.Match(dns) || n.Match.Config().Kind == match.Exact && wildcard(dns, n.Match.Config().Value) {
					return true
				}
			}
		}
	}
	return false
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

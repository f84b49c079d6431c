// Package spiffe is the one form in which Heddle names a workload: a type, not a string. It builds on go-spiffe and never
// guesses: what is not exactly spiffe://<trust domain>/ns/<namespace>/sa/<account> is an error.
package spiffe

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Identity names a workload. The zero value names nobody.
type Identity struct {
	TrustDomain    string
	Namespace      string
	ServiceAccount string
}

// New checks the three parts and returns the identity that they name.
func New(trustDomain, namespace, account string) (Identity, error) {
	return Parse("spiffe://" + trustDomain + "/ns/" + namespace + "/sa/" + account)
}

// Parse reads a SPIFFE ID of the form spiffe://<trust domain>/ns/<namespace>/sa/<account>.
func Parse(s string) (Identity, error) {
	id, err := spiffeid.FromString(s)
	if err != nil {
		return Identity{}, fmt.Errorf("parsing identity %q: %w", s, err)
	}
	return FromID(id)
}

// FromID reads a parsed SPIFFE ID.
func FromID(id spiffeid.ID) (Identity, error) {
	parts := strings.Split(id.Path(), "/")
	if len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" {
		return Identity{}, fmt.Errorf("identity %q: path is not /ns/<namespace>/sa/<account>", id)
	}
	return Identity{TrustDomain: id.TrustDomain().Name(), Namespace: parts[2], ServiceAccount: parts[4]}, nil
}

// IsZero reports whether i names nobody.
func (i Identity) IsZero() bool { return i == Identity{} }

// ID returns i as go-spiffe's type. It must not be called on the zero value.
func (i Identity) ID() spiffeid.ID { return spiffeid.RequireFromString(i.String()) }

// String returns the SPIFFE ID, or "" for the zero value.
func (i Identity) String() string {
	if i.IsZero() {
		return ""
	}
	return "spiffe://" + i.TrustDomain + "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount
}

// Principal returns the identity as authorization policies write it: without the scheme.
func (i Identity) Principal() string { return strings.TrimPrefix(i.String(), "spiffe://") }

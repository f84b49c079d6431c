// Package issue decides whether a certificate may be issued, and which: a chain of checks over the request, the proven caller
// and the policy. It is PURE: it holds no keys, asks nobody and takes the time as an argument. What a certificate says comes from
// the proof alone; the request contributes its public key and nothing else.
package issue

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// Defaults of Policy.
const (
	DefaultTTL      = 24 * time.Hour
	DefaultMaxTTL   = 24 * time.Hour
	DefaultBackdate = 5 * time.Minute
)

// Policy limits what is issued.
type Policy struct {
	DefaultTTL time.Duration // for requests that name none
	MaxTTL     time.Duration // longer requests are refused
	Backdate   time.Duration // how far before now validity begins, for clocks that are behind; at most a tenth of the lifetime
}

// DefaultPolicy issues for a day.
func DefaultPolicy() Policy {
	return Policy{DefaultTTL: DefaultTTL, MaxTTL: DefaultMaxTTL, Backdate: DefaultBackdate}
}

// Request is what a caller asks for.
type Request struct {
	CSR    *x509.CertificateRequest
	Caller spiffe.Identity // as proven, never as claimed
	TTL    time.Duration   // 0: the policy's default
	// Machine: the caller is proven to be a machine outside of the cluster, which its certificate says of it.
	Machine bool
}

// machineUnit is the organizational unit in the subjects of machines' certificates. It names nobody: it says what kind of proof was given.
const machineUnit = "machine"

// OfMachine reports whether a certificate, which the mesh's roots have verified, was issued to a machine.
func OfMachine(cert *x509.Certificate) bool {
	return len(cert.Subject.OrganizationalUnit) == 1 && cert.Subject.OrganizationalUnit[0] == machineUnit
}

// Refusal is why a request is refused.
type Refusal struct {
	Check  string // which check refused: a word, fit for a metric label
	Reason string
}

// Error says which check refused and why.
func (r *Refusal) Error() string { return r.Check + ": " + r.Reason }

type check struct {
	name string
	run  func(Request, Policy) error
}

// checks is the chain, cheap before expensive: a hostile key is measured before it is used to verify anything.
func checks() []check {
	return []check{
		{"caller", checkCaller},
		{"lifetime", checkLifetime},
		{"key", checkKey},
		{"signature", checkSignature},
		{"san", checkNames},
		{"extension", checkExtensions},
	}
}

// Decide returns the template of the certificate to sign for r, or a *Refusal.
func Decide(r Request, p Policy, now time.Time) (*x509.Certificate, error) {
	for _, c := range checks() {
		if err := c.run(r, p); err != nil {
			return nil, &Refusal{Check: c.name, Reason: err.Error()}
		}
	}
	ttl := r.TTL
	if ttl == 0 {
		ttl = p.DefaultTTL
	}
	subject := pkix.Name{}
	if r.Machine {
		subject.OrganizationalUnit = []string{machineUnit}
	}
	return &x509.Certificate{
		Subject:               subject,
		URIs:                  []*url.URL{r.Caller.ID().URL()},
		NotBefore:             now.Add(-min(p.Backdate, ttl/10)),
		NotAfter:              now.Add(ttl),
		KeyUsage:              keyUsage(r.CSR.PublicKey),
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, nil
}

// keyUsage adds encipherment for RSA, whose old cipher suites need it.
func keyUsage(public any) x509.KeyUsage {
	usage := x509.KeyUsageDigitalSignature
	if _, ok := public.(*rsa.PublicKey); ok {
		usage |= x509.KeyUsageKeyEncipherment
	}
	return usage
}

// maxCSR is far above any honest request, in bytes of PEM.
const maxCSR = 64 << 10

// ParseCSR reads exactly one certificate request in PEM. Its error is a *Refusal.
func ParseCSR(text []byte) (*x509.CertificateRequest, error) {
	refuse := func(reason string) (*x509.CertificateRequest, error) {
		return nil, &Refusal{Check: "syntax", Reason: reason}
	}
	if len(text) > maxCSR {
		return refuse("the request is too large")
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return refuse("not a certificate request in PEM")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return refuse("more than one block of PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return refuse(err.Error())
	}
	return csr, nil
}

func checkCaller(r Request, _ Policy) error {
	if r.Caller.IsZero() {
		return errors.New("nobody has proven an identity")
	}
	return nil
}

func checkLifetime(r Request, p Policy) error {
	if r.TTL < 0 || r.TTL > p.MaxTTL {
		return fmt.Errorf("%s is not between 0 and %s", r.TTL, p.MaxTTL)
	}
	return nil
}

// Bounds of RSA keys, in bits: below they are weak, above they cost us.
const (
	minRSA = 2048
	maxRSA = 8192
)

func checkKey(r Request, _ Policy) error {
	switch key := r.CSR.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return fmt.Errorf("curve %s is neither P-256 nor P-384", key.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("an RSA key of %d bits", bits)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("%s keys are not issued for", r.CSR.PublicKeyAlgorithm)
	}
	return nil
}

func checkSignature(r Request, _ Policy) error {
	if err := r.CSR.CheckSignature(); err != nil {
		return fmt.Errorf("the caller does not hold the key: %w", err)
	}
	return nil
}

// checkNames takes a request without names, or with the caller's identity and nothing beside it.
func checkNames(r Request, _ Policy) error {
	csr := r.CSR
	if len(csr.DNSNames)+len(csr.IPAddresses)+len(csr.EmailAddresses) > 0 {
		return fmt.Errorf("names beside %s are asked for", r.Caller)
	}
	for _, uri := range csr.URIs {
		if uri.String() != r.Caller.String() {
			return fmt.Errorf("%q is asked for by %s", uri, r.Caller)
		}
	}
	if len(csr.URIs) > 1 {
		return errors.New("the identity is asked for more than once")
	}
	return checkNameKinds(csr)
}

func oidSubjectAltName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// tagURI is the tag of uniformResourceIdentifier in RFC 5280's GeneralName.
const tagURI = 6

// checkNameKinds refuses kinds of name that crypto/x509 skips in silence (directory names, other names).
func checkNameKinds(csr *x509.CertificateRequest) error {
	seen := 0
	for _, ext := range csr.Extensions {
		if !ext.Id.Equal(oidSubjectAltName()) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 {
			return errors.New("the names cannot be read")
		}
		for _, name := range names {
			if name.Class != asn1.ClassContextSpecific || name.Tag != tagURI {
				return fmt.Errorf("a name of kind %d is asked for", name.Tag)
			}
		}
		seen++
	}
	if seen > 1 {
		return errors.New("two lists of names")
	}
	return nil
}

// checkExtensions takes no extension but names: CA flags, key usages, constraints and policies are ours to set.
func checkExtensions(r Request, _ Policy) error {
	for _, ext := range r.CSR.Extensions {
		if !ext.Id.Equal(oidSubjectAltName()) {
			return fmt.Errorf("%s is asked for", extensionName(ext.Id))
		}
	}
	return nil
}

func extensionName(id asn1.ObjectIdentifier) string {
	switch id.String() {
	case "2.5.29.19":
		return "a CA flag (basic constraints)"
	case "2.5.29.15":
		return "a key usage"
	case "2.5.29.37":
		return "an extended key usage"
	}
	return "extension " + id.String()
}

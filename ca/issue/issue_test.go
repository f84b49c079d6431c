package issue_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

const me = "spiffe://cluster.local/ns/shop/sa/catalog"

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func caller(t testing.TB) spiffe.Identity {
	t.Helper()
	id, err := spiffe.Parse(me)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func uris(names ...string) []*url.URL {
	var out []*url.URL
	for _, n := range names {
		out = append(out, must(url.Parse(n)))
	}
	return out
}

func extension(id asn1.ObjectIdentifier, value any) []pkix.Extension {
	return []pkix.Extension{{Id: id, Value: must(asn1.Marshal(value))}}
}

func csr(t testing.TB, template *x509.CertificateRequest, key crypto.Signer) *x509.CertificateRequest {
	t.Helper()
	parsed, err := issue.ParseCSR(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: must(x509.CreateCertificateRequest(rand.Reader, template, key))}))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestWhatIsIssued(t *testing.T) {
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	for _, c := range []struct {
		why      string
		template x509.CertificateRequest
		key      crypto.Signer
	}{
		{"no names", x509.CertificateRequest{}, p256},
		{"the caller's own name", x509.CertificateRequest{URIs: uris(me)}, p256},
		{"a subject counts for nothing", x509.CertificateRequest{Subject: pkix.Name{CommonName: "root"}}, p256},
		{"P-384", x509.CertificateRequest{}, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))},
		{"RSA 2048", x509.CertificateRequest{}, must(rsa.GenerateKey(rand.Reader, 2048))},
		{"Ed25519", x509.CertificateRequest{}, edKey},
	} {
		cert, err := issue.Decide(issue.Request{CSR: csr(t, &c.template, c.key), Caller: caller(t)}, issue.DefaultPolicy(), now)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if len(cert.URIs) != 1 || cert.URIs[0].String() != me || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) > 0 {
			t.Errorf("%s: names %v %v", c.why, cert.URIs, cert.DNSNames)
		}
		if cert.Subject.String() != "" || cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign != 0 || len(cert.ExtKeyUsage) != 2 || len(cert.ExtraExtensions) > 0 {
			t.Errorf("%s: the request shows in the certificate: %+v", c.why, cert)
		}
		if !cert.NotAfter.Equal(now.Add(24*time.Hour)) || !cert.NotBefore.Equal(now.Add(-5*time.Minute)) {
			t.Errorf("%s: valid from %s to %s", c.why, cert.NotBefore, cert.NotAfter)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ask := func(template x509.CertificateRequest) issue.Request {
		return issue.Request{CSR: csr(t, &template, p256), Caller: caller(t)}
	}
	key := func(k crypto.Signer) issue.Request {
		return issue.Request{CSR: csr(t, &x509.CertificateRequest{}, k), Caller: caller(t)}
	}
	long, negative, nobody, forged := ask(x509.CertificateRequest{}), ask(x509.CertificateRequest{}), ask(x509.CertificateRequest{}), ask(x509.CertificateRequest{})
	long.TTL, negative.TTL, nobody.Caller = 24*time.Hour+1, -1, spiffe.Identity{}
	stolen := *forged.CSR
	stolen.PublicKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()
	forged.CSR = &stolen
	directory := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: must(asn1.Marshal(pkix.Name{CommonName: "x"}.ToRDNSequence()))}
	for _, c := range []struct {
		why, check string
		request    issue.Request
	}{
		{"another identity", "san", ask(x509.CertificateRequest{URIs: uris("spiffe://cluster.local/ns/shop/sa/admin")})},
		{"the same account of another namespace", "san", ask(x509.CertificateRequest{URIs: uris("spiffe://cluster.local/ns/other/sa/catalog")})},
		{"the own identity and another", "san", ask(x509.CertificateRequest{URIs: uris(me, "spiffe://cluster.local/ns/shop/sa/admin")})},
		{"the own identity twice", "san", ask(x509.CertificateRequest{URIs: uris(me, me)})},
		{"a DNS name", "san", ask(x509.CertificateRequest{URIs: uris(me), DNSNames: []string{"heddled.heddle-system.svc"}})},
		{"an address", "san", ask(x509.CertificateRequest{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}})},
		{"an e-mail address", "san", ask(x509.CertificateRequest{EmailAddresses: []string{"a@b.example"}})},
		{"a directory name", "san", ask(x509.CertificateRequest{ExtraExtensions: extension(asn1.ObjectIdentifier{2, 5, 29, 17}, []asn1.RawValue{directory})})},
		{"a CA flag", "extension", ask(x509.CertificateRequest{ExtraExtensions: extension(asn1.ObjectIdentifier{2, 5, 29, 19}, struct{ IsCA bool }{true})})},
		{"a key usage", "extension", ask(x509.CertificateRequest{ExtraExtensions: extension(asn1.ObjectIdentifier{2, 5, 29, 15}, asn1.BitString{Bytes: []byte{4}, BitLength: 6})})},
		{"an extended key usage", "extension", ask(x509.CertificateRequest{ExtraExtensions: extension(asn1.ObjectIdentifier{2, 5, 29, 37}, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 3}})})},
		{"an extension of any kind", "extension", ask(x509.CertificateRequest{ExtraExtensions: extension(asn1.ObjectIdentifier{1, 2, 3}, "x")})},
		{"a long life", "lifetime", long},
		{"a negative life", "lifetime", negative},
		{"a caller without proof", "caller", nobody},
		{"a key that the caller does not hold", "signature", forged},
		{"P-224", "key", key(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)))},
		{"P-521", "key", key(must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)))},
		{"a short RSA key", "key", key(must(rsa.GenerateKey(rand.Reader, 1024)))},
	} {
		cert, err := issue.Decide(c.request, issue.DefaultPolicy(), now)
		var refusal *issue.Refusal
		if cert != nil || !errors.As(err, &refusal) || refusal.Check != c.check {
			t.Errorf("%s: %v, want a refusal by %s", c.why, err, c.check)
		}
	}
}

func TestShortLives(t *testing.T) {
	request := issue.Request{CSR: csr(t, &x509.CertificateRequest{}, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))), Caller: caller(t), TTL: 5 * time.Second}
	cert, err := issue.Decide(request, issue.DefaultPolicy(), now)
	if err != nil || !cert.NotAfter.Equal(now.Add(5*time.Second)) || !cert.NotBefore.Equal(now.Add(-500*time.Millisecond)) {
		t.Errorf("valid from %s to %s (%v)", cert.NotBefore, cert.NotAfter, err)
	}
}

func TestParseCSRRefuses(t *testing.T) {
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))})
	for why, text := range map[string][]byte{
		"nothing":              nil,
		"no PEM":               []byte("hello"),
		"two requests":         append(append([]byte{}, good...), good...),
		"another kind":         pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}),
		"no request inside":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{1}}),
		"too large":            make([]byte, 65<<10),
		"garbage in the frame": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good[:60]}),
	} {
		if _, err := issue.ParseCSR(text); err == nil {
			t.Errorf("%s: accepted", why)
		}
	}
}

func FuzzParseCSR(f *testing.F) {
	f.Add(must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: uris(me)}, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))))
	id := caller(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		parsed, err := issue.ParseCSR(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
		if err != nil {
			return
		}
		cert, err := issue.Decide(issue.Request{CSR: parsed, Caller: id}, issue.DefaultPolicy(), now)
		if err == nil && (len(cert.URIs) != 1 || cert.URIs[0].String() != me || cert.IsCA) {
			t.Errorf("issued %+v", cert)
		}
	})
}

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"testing"
	"time"
)

func TestIssuedCertificatesVerify(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ca, err := NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(Subject{Name: "n", Groups: []string{"g"}, Hosts: []string{"a.example"}, Addresses: []net.IP{{10, 0, 0, 1}}}, now)
	if err != nil {
		t.Fatal(err)
	}
	both, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Certificate)
	for _, host := range []string{"a.example", "10.0.0.1"} {
		if _, err := both.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := both.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "b.example", CurrentTime: now}); err == nil {
		t.Error("it is valid for another host")
	}
	if both.Leaf.Subject.CommonName != "n" || !slices.Equal(both.Leaf.Subject.Organization, []string{"g"}) {
		t.Errorf("subject %v", both.Leaf.Subject)
	}
}

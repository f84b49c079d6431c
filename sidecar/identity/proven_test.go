package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"
	"time"
)

// signed is a chain of a new workload's certificate.
func (ca *testCA) signed(t *testing.T, ttl time.Duration) (chain []*x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ca.Sign(t.Context(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), ttl)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range text.Chain {
		block, _ := pem.Decode([]byte(one))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	return chain
}

// TestProvenOnce holds that a peer which is known by its bytes is not verified again, and that whatever could make the proof untrue is looked at all the
// same: the time, the usage, and the anchors.
func TestProvenOnce(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	ca.change = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	roots, path := rootsOf(t, ca)
	if _, err := roots.Load(); err != nil {
		t.Fatal(err)
	}
	chain, now := ca.signed(t, time.Hour), time.Now()
	verify := func(usage x509.ExtKeyUsage, at time.Time) error {
		peer, err := roots.Verify(chain, usage, at)
		if err == nil && peer != shop {
			err = fmt.Errorf("proved %s", peer)
		}
		return err
	}
	if err := verify(x509.ExtKeyUsageClientAuth, now); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() {
		if err := verify(x509.ExtKeyUsageClientAuth, now); err != nil {
			t.Error(err)
		}
	}); n > 10 {
		t.Errorf("%v allocations: a known peer was verified again", n)
	}
	for name, err := range map[string]error{
		"expired": verify(x509.ExtKeyUsageClientAuth, now.Add(2*time.Hour)), "not valid yet": verify(x509.ExtKeyUsageClientAuth, now.Add(-2*time.Hour)),
		"for another usage": verify(x509.ExtKeyUsageServerAuth, now)} {
		if err == nil {
			t.Errorf("accepted: %s", name)
		}
	}
	writeRoots(t, path, other)
	if _, err := roots.Load(); err != nil {
		t.Fatal(err)
	}
	if verify(x509.ExtKeyUsageClientAuth, now) == nil {
		t.Error("accepted under anchors that it does not lead to")
	}
}

// TestProvenIsBounded holds that no number of peers takes more memory than is meant for them, and that each is judged rightly.
func TestProvenIsBounded(t *testing.T) {
	known := &proven{}
	cert := &x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	for i := range 3 * maxProven {
		p := proof{byte(i), byte(i >> 8)}
		known.remember(p, time.Now(), shop, []*x509.Certificate{cert})
		if _, ok := known.peer(p, time.Now()); !ok {
			t.Fatalf("peer %d is forgotten at once", i)
		}
	}
	if len(known.peers) != maxProven {
		t.Errorf("%d peers are remembered", len(known.peers))
	}
}

// TestProvenForgets: certificates that were renewed leave nothing behind for long.
func TestProvenForgets(t *testing.T) {
	known, now := &proven{}, time.Now()
	for i := range 10 * fewProven {
		now = now.Add(time.Minute)
		cert := &x509.Certificate{NotBefore: now, NotAfter: now.Add(2 * time.Minute)}
		known.remember(proof{byte(i), byte(i >> 8)}, now, shop, []*x509.Certificate{cert})
		if len(known.peers) > fewProven {
			t.Fatalf("%d are remembered, of which 3 may be shown again", len(known.peers))
		}
	}
}

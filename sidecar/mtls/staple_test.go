package mtls

import (
	"bytes"
	"crypto/tls"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// response is an OCSP response of the CA about a serial number.
func (p *pki) response(serial int64, next time.Time) []byte {
	p.t.Helper()
	about := ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(serial), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next}
	out, err := ocsp.CreateResponse(p.cert, p.cert, about, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// TestStaple: clients are shown the OCSP response that came with the certificate, as long as it counts.
func TestStaple(t *testing.T) {
	ca, secrets := newPKI(t), NewSecrets()
	chain, key := ca.issue(40, "shop.example.com", time.Hour)
	server := NewServer(ServerConfig{Certificates: []Certificate{secrets.Slot("shop")}})
	shown := func() []byte {
		t.Helper()
		a, b := pair(t)
		defer a.Close()
		go func() { _, _, _ = server.Server(t.Context(), a) }()
		client := tls.Client(b, &tls.Config{ServerName: "shop.example.com", RootCAs: ca.pool})
		defer client.Close()
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return client.OCSPResponse()
	}
	fresh, old := ca.response(40, time.Now().Add(time.Hour)), ca.response(40, time.Now().Add(-time.Hour))
	for name, c := range map[string]struct{ staple, want []byte }{"fresh": {fresh, fresh}, "expired": {old, nil}, "none": {nil, nil}} {
		if err := secrets.Put("shop", Material{Chain: chain, Key: key, Staple: c.staple}); err != nil {
			t.Fatal(err)
		}
		if got := shown(); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes are shown, want %d", name, len(got), len(c.want))
		}
	}
	for name, staple := range map[string][]byte{"rubbish": []byte("x"), "about another certificate": ca.response(41, time.Now().Add(time.Hour))} {
		err := secrets.Put("shop", Material{Chain: chain, Key: key, Staple: staple})
		if err == nil || !strings.HasPrefix(err.Error(), "tls_certificate.ocsp_staple: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

package mtls

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"
)

// TestSuitesWithoutForwardSecrecy: a server offers them where it is told to, and only there.
func TestSuitesWithoutForwardSecrecy(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"old.example.com"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert := holder{&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	named, err := Suites([]string{"AES128-GCM-SHA256"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		suites []uint16
		ok     bool
	}{"named": {named, true}, "by default": {nil, false}} {
		server := NewServer(ServerConfig{Params: Params{Max: tls.VersionTLS12, Suites: c.suites}, Certificates: []Certificate{cert}})
		a, b := pair(t)
		go func() {
			defer a.Close()
			_, _, _ = server.Server(t.Context(), a)
		}()
		client := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}})
		if err := client.HandshakeContext(t.Context()); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		client.Close()
	}
}

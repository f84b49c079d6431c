package mtls

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// below returns an authority that p vouches for.
func (p *pki) below(name string) *pki {
	p.t.Helper()
	sub := &pki{t: p.t, key: newKey(p.t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, sub.key.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	if sub.cert, err = x509.ParseCertificate(der); err != nil {
		p.t.Fatal(err)
	}
	return sub
}

// revoke returns the authority's list, PEM.
func (p *pki) revoke(change func(*x509.RevocationList), serials ...int64) []byte {
	p.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, n := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, p.cert, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// TestRevocationFailsClosed: where there are lists, there has to be a good one of each authority in a chain, as in Envoy.
func TestRevocationFailsClosed(t *testing.T) {
	root := newPKI(t)
	issuer, namesake := root.below("issuing CA"), root.below("issuing CA")
	expired := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	early := func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(time.Minute) }
	partial := func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0x03, 0x81, 0x01, 0xff}}} // users' only
	}
	for name, c := range map[string]struct {
		lists [][]byte
		want  string // in the error
	}{
		"no lists at all":               {nil, ""},
		"a list of each":                {[][]byte{root.revoke(nil), issuer.revoke(nil, 99)}, ""},
		"one of the leaf's issuer only": {[][]byte{issuer.revoke(nil)}, `certificate 7 may be revoked: there is no list of CN=test CA`},
		"one of the root only":          {[][]byte{root.revoke(nil)}, `certificate 15 may be revoked: there is no list of CN=issuing CA`},
		"one that expired":              {[][]byte{root.revoke(nil), issuer.revoke(expired)}, "the list of CN=issuing CA expired at"},
		"an expired one beside another": {[][]byte{root.revoke(nil), issuer.revoke(expired, 21), issuer.revoke(nil)}, ""},
		"one that is not valid yet":     {[][]byte{root.revoke(nil), issuer.revoke(early)}, "the list of CN=issuing CA is not valid before"},
		"one that another signed":       {[][]byte{root.revoke(nil), namesake.revoke(nil)}, "the list of CN=issuing CA does not verify"},
		"one of a part only":            {[][]byte{root.revoke(nil), issuer.revoke(partial)}, "the list of CN=issuing CA has extensions that are not implemented"},
		"the leaf is revoked":           {[][]byte{root.revoke(nil), issuer.revoke(nil, 21)}, "certificate 15 is revoked"},
		"its issuer is revoked":         {[][]byte{root.revoke(nil, 7), issuer.revoke(nil)}, "certificate 7 is revoked"},
	} {
		secrets := NewSecrets()
		if err := secrets.Put("ca", Material{CA: root.ca(), CRL: slices.Concat(c.lists...)}); err != nil {
			t.Fatal(err)
		}
		chain, key := issuer.issue(21, "client.example.com", time.Hour)
		cert, err := tls.X509KeyPair(append(chain, issuer.ca()...), key)
		if err != nil {
			t.Fatal(err)
		}
		server := NewServer(ServerConfig{Certificates: []Certificate{root.holder("gw")}, Peer: &Peer{Required: true, Trust: Trust{Secret: secrets.Slot("ca")}}})
		_, _, err, _ = meet(t, server, NewClient(ClientConfig{Certificate: holder{&cert}, Trust: Trust{Nothing: true}}), &exchange.Endpoint{}, exchange.HTTP1)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

package mtls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

const (
	web     = "spiffe://cluster.local/ns/shop/sa/web"
	catalog = "spiffe://cluster.local/ns/shop/sa/catalog"
)

// pki is a CA for tests; it also is the mesh's verifier.
type pki struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{t: t, key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	p.pool.AddCert(p.cert)
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue returns PEM of a certificate with one name: a SPIFFE ID or a DNS name.
func (p *pki) issue(serial int64, name string, life time.Duration) (chain, key []byte) {
	p.t.Helper()
	k := newKey(p.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	for one := range strings.SplitSeq(name, ",") {
		if uri, err := url.Parse(one); err == nil && uri.Scheme != "" {
			template.URIs = append(template.URIs, uri)
		} else {
			template.DNSNames = append(template.DNSNames, one)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, k.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		p.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func (p *pki) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

// holder is a certificate of a test.
type holder struct{ cert *tls.Certificate }

func (h holder) Certificate() *tls.Certificate { return h.cert }

func (p *pki) holder(name string) holder {
	chain, key := p.issue(2, name, time.Hour)
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		p.t.Fatal(err)
	}
	return holder{&cert}
}

// Verify implements Verifier.
func (p *pki) Verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (spiffe.Identity, error) {
	id, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		return spiffe.Identity{}, err
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: p.pool, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: now}); err != nil {
		return spiffe.Identity{}, err
	}
	return spiffe.FromID(id)
}

func prefix(value string) []Name {
	m, err := match.New(match.Config{Kind: match.Prefix, Value: value})
	if err != nil {
		panic(err)
	}
	return []Name{{Type: URIName, Match: m}}
}

func exactDNS(value string) []Name {
	m, _ := match.New(match.Config{Value: value})
	return []Name{{Type: DNSName, Match: m}}
}

// pair returns both ends of a loopback connection.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if b, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if a, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// meet handshakes client with server, and carries one byte each way, since TLS 1.3 tells a client of its refusal only then.
func meet(t *testing.T, server *Server, client *Client, ep *exchange.Endpoint, p exchange.Protocol) (s, c *exchange.Security, sErr, cErr error) {
	t.Helper()
	return meetAs(t, server, client, ep, "", p)
}

// meetAs is meet where the request says the server's name.
func meetAs(t *testing.T, server *Server, client *Client, ep *exchange.Endpoint, name string, p exchange.Protocol) (s, c *exchange.Security, sErr, cErr error) {
	t.Helper()
	a, b := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	type result struct {
		s   *exchange.Security
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer a.Close()
		conn, s, err := server.Server(ctx, a)
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		done <- result{s, err}
	}()
	conn, c, cErr := client.Handshake(ctx, b, ep, name, p)
	if cErr == nil {
		_, cErr = conn.Read(make([]byte, 1))
	}
	b.Close()
	r := <-done
	return r.s, c, r.err, cErr
}

func TestMeshHandshake(t *testing.T) {
	ca := newPKI(t)
	server := NewServer(ServerConfig{ALPN: []string{"h2", "http/1.1"}, Certificates: []Certificate{ca.holder(catalog)},
		Peer: &Peer{Required: true, Trust: Trust{Mesh: ca}, Names: prefix("spiffe://cluster.local/")}})
	client := NewClient(ClientConfig{SNI: "outbound_.80_._.catalog.shop.svc.cluster.local", ALPN: []string{"istio"}, Certificate: ca.holder(web),
		Trust: Trust{Mesh: ca}})
	s, c, sErr, cErr := meet(t, server, client, &exchange.Endpoint{Identity: catalog}, exchange.HTTP2)
	if sErr != nil || cErr != nil {
		t.Fatal(sErr, cErr)
	}
	if s.Identity.URI != web || s.Identity.ServiceAccount != "web" || !s.Mutual || s.ALPN != "h2" || s.LocalURI != catalog || s.Version != "TLSv1.3" {
		t.Errorf("server saw %+v", s)
	}
	if sum := sha256.Sum256(s.Cert); hex.EncodeToString(sum[:]) != s.Hash {
		t.Errorf("server saw the certificate %x, whose hash is not %s", s.Cert, s.Hash)
	}
	if c.Identity.URI != catalog || !c.Mutual || c.ALPN != "h2" || c.LocalURI != web {
		t.Errorf("client saw %+v", c)
	}
}

func TestALPNWithoutIntersectionGoesOn(t *testing.T) {
	ca := newPKI(t)
	server := NewServer(ServerConfig{ALPN: []string{"h2"}, Certificates: []Certificate{ca.holder(catalog)}})
	client := NewClient(ClientConfig{ALPN: []string{"istio"}, Trust: Trust{Mesh: ca}})
	s, _, sErr, cErr := meet(t, server, client, &exchange.Endpoint{Identity: catalog}, exchange.TCP)
	if sErr != nil || cErr != nil || s.ALPN != "" {
		t.Errorf("%v %v %+v", sErr, cErr, s)
	}
}

func TestOffers(t *testing.T) {
	mesh, origination := ClientConfig{ALPN: []string{"istio-peer-exchange", "istio", "h2"}}, ClientConfig{ALPN: []string{"h2", "http/1.1"}}
	for _, c := range []struct {
		config ClientConfig
		p      exchange.Protocol
		want   string
	}{
		{mesh, exchange.TCP, "istio"},
		{mesh, exchange.HTTP10, "istio-http/1.0 istio http/1.0"},
		{mesh, exchange.HTTP1, "istio-http/1.1 istio http/1.1"},
		{mesh, exchange.HTTP2, "istio-h2 istio h2"},
		{origination, exchange.HTTP1, "http/1.1"},
		{origination, exchange.HTTP2, "h2"},
		{ClientConfig{}, exchange.HTTP2, "h2"},
		{ClientConfig{}, exchange.TCP, ""},
	} {
		if got := strings.Join(c.config.offers(c.p), " "); got != c.want {
			t.Errorf("%v over %v: offers %q, want %q", c.config.ALPN, c.p, got, c.want)
		}
	}
}

func TestSecureNaming(t *testing.T) {
	ca, stranger := newPKI(t), newPKI(t)
	mesh := func() ClientConfig {
		return ClientConfig{ALPN: []string{"istio"}, Certificate: ca.holder(web), Trust: Trust{Mesh: ca}}
	}
	expired := func() holder {
		chain, key := ca.issue(3, catalog, -time.Minute)
		cert, err := tls.X509KeyPair(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		return holder{&cert}
	}
	withNames := func(n []Name) ClientConfig { c := mesh(); c.Names = n; return c }
	withDomains := func(n ...Name) ClientConfig {
		c := withNames(n)
		c.Domains = []string{"spiffe://new.example.com/", "spiffe://cluster.local/"}
		return c
	}
	renamed := strings.Replace(catalog, "cluster.local", "new.example.com", 1)
	elsewhere := strings.Replace(catalog, "cluster.local", "other.example.com", 1)
	byRoots := withDomains(prefix(web)...)
	secrets := NewSecrets()
	if err := secrets.Put("ca", Material{CA: ca.ca()}); err != nil {
		t.Fatal(err)
	}
	byRoots.Trust = Trust{Secret: secrets.Slot("ca")}
	for name, c := range map[string]struct {
		server   holder
		client   ClientConfig
		identity string
		ok       bool
	}{
		"the endpoint's identity":                 {ca.holder(catalog), mesh(), catalog, true},
		"another account's certificate":           {ca.holder(web), mesh(), catalog, false},
		"an endpoint without identity":            {ca.holder(catalog), mesh(), "", false},
		"a foreign root":                          {stranger.holder(catalog), mesh(), catalog, false},
		"expired":                                 {expired(), mesh(), catalog, false},
		"names instead of facts":                  {ca.holder(catalog), withNames(prefix(catalog)), "", true},
		"names beat facts":                        {ca.holder(web), withNames(prefix(catalog)), web, false},
		"its identity under an alias":             {ca.holder(catalog), withDomains(), renamed, true},
		"its identity of before an alias":         {ca.holder(renamed), withDomains(), catalog, true},
		"another account under an alias":          {ca.holder(web), withDomains(), renamed, false},
		"of a domain that is no alias":            {ca.holder(elsewhere), withDomains(), renamed, false},
		"an endpoint of no alias":                 {ca.holder(elsewhere), withDomains(), elsewhere, false},
		"without identity, beside aliases":        {ca.holder(catalog), withDomains(), "", false},
		"a foreign root, under an alias":          {stranger.holder(catalog), withDomains(), renamed, false},
		"a name beside the endpoint's":            {ca.holder(web), withDomains(prefix(web)...), catalog, true},
		"a name, without identity":                {ca.holder(web), withDomains(prefix(web)...), "", true},
		"the endpoint's beside names":             {ca.holder(catalog), withDomains(prefix(web)...), catalog, true},
		"neither a name nor the endpoint's":       {ca.holder(elsewhere), withDomains(prefix(web)...), catalog, false},
		"the endpoint's, by other roots":          {ca.holder(catalog), byRoots, renamed, true},
		"another account, by other roots":         {ca.holder(strings.Replace(catalog, "catalog", "other", 1)), byRoots, catalog, false},
		"no trust at all is no trust in everyone": {ca.holder(catalog), ClientConfig{}, catalog, false},
		"no certificate of our own":               {ca.holder(catalog), ClientConfig{Trust: Trust{Mesh: ca}, Certificate: holder{}}, catalog, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := NewServer(ServerConfig{Certificates: []Certificate{c.server}, Peer: &Peer{Required: true, Trust: Trust{Mesh: ca}}})
			_, _, sErr, cErr := meet(t, server, NewClient(c.client), &exchange.Endpoint{Identity: c.identity}, exchange.HTTP1)
			if ok := sErr == nil && cErr == nil; ok != c.ok {
				t.Errorf("accepted: %v (%v, %v)", ok, sErr, cErr)
			}
		})
	}
}

func TestClientsAreJudged(t *testing.T) {
	ca, stranger := newPKI(t), newPKI(t)
	for name, c := range map[string]struct {
		client   Certificate
		required bool
		names    []Name
		ok       bool
	}{
		"of the trust domain":        {ca.holder(web), true, prefix("spiffe://cluster.local/"), true},
		"of another trust domain":    {ca.holder("spiffe://example.org/ns/a/sa/b"), true, prefix("spiffe://cluster.local/"), false},
		"of another root":            {stranger.holder(web), true, nil, false},
		"of another root, optional":  {stranger.holder(web), false, nil, false},
		"without a certificate":      {nil, true, nil, false},
		"without one where optional": {nil, false, nil, true},
		"not a workload":             {ca.holder("example.org"), true, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := NewServer(ServerConfig{Certificates: []Certificate{ca.holder(catalog)},
				Peer: &Peer{Required: c.required, Trust: Trust{Mesh: ca}, Names: c.names}})
			client := NewClient(ClientConfig{Certificate: c.client, Trust: Trust{Mesh: ca}})
			s, _, sErr, cErr := meet(t, server, client, &exchange.Endpoint{Identity: catalog}, exchange.HTTP1)
			if ok := sErr == nil && cErr == nil; ok != c.ok {
				t.Fatalf("accepted: %v (%v, %v)", ok, sErr, cErr)
			}
			if c.ok && s.Mutual != (c.client != nil) {
				t.Errorf("mutual: %v", s.Mutual)
			}
		})
	}
}

// TestPinnedClients: beside a chain that proves it, a certificate must be one of those that are named, by itself or by its key.
func TestPinnedClients(t *testing.T) {
	ca := newPKI(t)
	known, other := ca.holder(web), ca.holder(web)
	leaf := known.Certificate().Leaf
	byKey, byHash := sha256.Sum256(leaf.RawSubjectPublicKeyInfo), sha256.Sum256(leaf.Raw)
	for name, c := range map[string]struct {
		pins         Pins
		known, other bool
	}{
		"none":             {Pins{}, true, true},
		"by key":           {Pins{Keys: [][32]byte{{}, byKey}}, true, false},
		"by hash":          {Pins{Certificates: [][32]byte{byHash}}, true, false},
		"either will do":   {Pins{Keys: [][32]byte{{}}, Certificates: [][32]byte{byHash}}, true, false},
		"a key is no hash": {Pins{Certificates: [][32]byte{byKey}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := NewServer(ServerConfig{Certificates: []Certificate{ca.holder(catalog)}, Peer: &Peer{Required: true, Trust: Trust{Mesh: ca}, Pins: c.pins}})
			for client, want := range map[Certificate]bool{known: c.known, other: c.other} {
				_, _, sErr, _ := meet(t, server, NewClient(ClientConfig{Certificate: client, Trust: Trust{Mesh: ca}}), &exchange.Endpoint{Identity: catalog}, exchange.HTTP1)
				if (sErr == nil) != want {
					t.Errorf("known %v: %v", client == known, sErr)
				}
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	ca := newPKI(t)
	secrets := NewSecrets()
	slot := secrets.Slot("kubernetes://shop")
	server := NewServer(ServerConfig{Certificates: []Certificate{slot}})
	client := NewClient(ClientConfig{SNI: "shop.example.com", Trust: Trust{Secret: secrets.Slot("ca")}, NameFromSNI: true})
	if _, _, sErr, _ := meet(t, server, client, &exchange.Endpoint{}, exchange.HTTP1); sErr == nil {
		t.Error("served without a certificate")
	}
	chain, key := ca.issue(10, "shop.example.com", time.Hour)
	put := func(name string, m Material) {
		t.Helper()
		if err := secrets.Put(name, m); err != nil {
			t.Fatal(err)
		}
	}
	put("kubernetes://shop", Material{Chain: chain, Key: key})
	if _, _, _, cErr := meet(t, server, client, &exchange.Endpoint{}, exchange.HTTP1); cErr == nil {
		t.Error("accepted without a CA bundle")
	}
	put("ca", Material{CA: ca.ca()})
	if _, _, sErr, cErr := meet(t, server, client, &exchange.Endpoint{}, exchange.HTTP1); sErr != nil || cErr != nil {
		t.Error(sErr, cErr)
	}
	for name, m := range map[string]Material{"rubbish": {Chain: []byte("x"), Key: key}, "no key": {Chain: chain}, "nothing": {}, "empty CA": {CA: []byte("x")}} {
		if err := secrets.Put("kubernetes://shop", m); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if slot.Certificate() == nil || slot.Certificate().Leaf.SerialNumber.Int64() != 10 {
		t.Error("unreadable content replaced the old one")
	}
	chain, key = ca.issue(11, "*.example.com", time.Hour)
	put("kubernetes://shop", Material{Chain: chain, Key: key})
	if slot.Certificate().Leaf.SerialNumber.Int64() != 11 {
		t.Error("not swapped")
	}
	if _, _, sErr, cErr := meet(t, server, client, &exchange.Endpoint{}, exchange.HTTP1); sErr != nil || cErr != nil {
		t.Error("wildcard certificate:", sErr, cErr)
	}
	named := NewClient(ClientConfig{SNI: "x", Trust: Trust{Secret: secrets.Slot("ca")}, Names: exactDNS("shop.example.com")})
	if _, _, sErr, cErr := meet(t, server, named, &exchange.Endpoint{}, exchange.HTTP1); sErr != nil || cErr != nil {
		t.Error("wildcard certificate for an exact name:", sErr, cErr)
	}
	if got := secrets.Facts(); len(got) != 2 || got[0].Name != "ca" || got[0].Serial != "1" || got[1].Serial != "b" || got[1].Identities[0] != "*.example.com" {
		t.Errorf("facts: %+v", got)
	}
	other := NewClient(ClientConfig{SNI: "other.example.org", Trust: Trust{Secret: secrets.Slot("ca")}, NameFromSNI: true})
	if _, _, _, cErr := meet(t, server, other, &exchange.Endpoint{}, exchange.HTTP1); cErr == nil {
		t.Error("accepted under another name")
	}
}

// TestServerName: the request's host, where it decides, comes before what the endpoint and the setting say, and the server must have it.
func TestServerName(t *testing.T) {
	ca := newPKI(t)
	secrets := NewSecrets()
	if err := secrets.Put("ca", Material{CA: ca.ca()}); err != nil {
		t.Fatal(err)
	}
	server := NewServer(ServerConfig{Certificates: []Certificate{ca.holder("a.example.com")}})
	for name, c := range map[string]struct {
		config        ClientConfig
		host, request string
		sni           string
		ok            bool
	}{
		"the setting's":                 {ClientConfig{SNI: "a.example.com"}, "x", "", "a.example.com", true},
		"the endpoint's":                {ClientConfig{AutoSNI: true, SNI: "x"}, "a.example.com", "", "a.example.com", true},
		"the request's":                 {ClientConfig{AutoSNI: true, SNI: "x"}, "x", "a.example.com", "a.example.com", true},
		"the request's, another server": {ClientConfig{AutoSNI: true}, "a.example.com", "b.example.com", "b.example.com", false},
		"nobody says it":                {ClientConfig{AutoSNI: true}, "", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Trust, c.config.NameFromSNI = Trust{Secret: secrets.Slot("ca")}, true
			s, _, _, err := meetAs(t, server, NewClient(c.config), &exchange.Endpoint{Host: c.host}, c.request, exchange.HTTP1)
			if (err == nil) != c.ok || c.ok && s.SNI != c.sni {
				t.Errorf("error %v, server saw %+v", err, s)
			}
		})
	}
}

// TestParams: what is not offered is not agreed on.
func TestParams(t *testing.T) {
	ca := newPKI(t)
	for name, c := range map[string]struct {
		server, client Params
		version        string // of the connection; empty: none
	}{
		"the newest":              {Params{}, Params{}, "TLSv1.3"},
		"1.2 at most":             {Params{}, Params{Max: tls.VersionTLS12}, "TLSv1.2"},
		"1.3 at least":            {Params{Min: tls.VersionTLS13}, Params{Max: tls.VersionTLS12}, ""},
		"a curve of both":         {Params{Curves: []tls.CurveID{tls.CurveP384}}, Params{Curves: []tls.CurveID{tls.CurveP256, tls.CurveP384}}, "TLSv1.3"},
		"no curve of both":        {Params{Curves: []tls.CurveID{tls.CurveP384}}, Params{Curves: []tls.CurveID{tls.CurveP256}}, ""},
		"no suite of both":        {Params{Max: tls.VersionTLS12, Suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, Params{Suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}, ""},
		"suites are for 1.2 only": {Params{Suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, Params{Suites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}}, "TLSv1.3"},
	} {
		t.Run(name, func(t *testing.T) {
			server := NewServer(ServerConfig{Params: c.server, Certificates: []Certificate{ca.holder("a")}})
			s, _, _, err := meet(t, server, NewClient(ClientConfig{Params: c.client, Trust: Trust{Nothing: true}}), &exchange.Endpoint{}, exchange.HTTP1)
			if (err == nil) != (c.version != "") || err == nil && s.Version != c.version {
				t.Errorf("error %v, server saw %+v", err, s)
			}
		})
	}
}

func TestRevocation(t *testing.T) {
	ca := newPKI(t)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(21), RevocationTime: time.Now()}}}, ca.cert, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	secrets := NewSecrets()
	crl := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})
	if err := secrets.Put("ca", Material{CA: ca.ca(), CRL: crl}); err != nil {
		t.Fatal(err)
	}
	server := NewServer(ServerConfig{Certificates: []Certificate{ca.holder("gw")}, Peer: &Peer{Required: true, Trust: Trust{Secret: secrets.Slot("ca")}}})
	for serial, ok := range map[int64]bool{20: true, 21: false} {
		chain, key := ca.issue(serial, "client.example.com", time.Hour)
		cert, err := tls.X509KeyPair(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		client := NewClient(ClientConfig{Certificate: holder{&cert}, Trust: Trust{Nothing: true}})
		_, _, sErr, _ := meet(t, server, client, &exchange.Endpoint{}, exchange.HTTP1)
		if (sErr == nil) != ok {
			t.Errorf("serial %d: %v", serial, sErr)
		}
		if !ok && (sErr == nil || !strings.Contains(sErr.Error(), "revoked")) {
			t.Errorf("serial %d: %v", serial, errors.Unwrap(sErr))
		}
	}
}

// TestWhoseWordAnIdentityIs holds that another authority than the mesh's, where its clients are let in, can name nobody of the mesh's trust domain.
func TestWhoseWordAnIdentityIs(t *testing.T) {
	mesh, partner := newPKI(t), newPKI(t)
	secrets := NewSecrets()
	if err := secrets.Put("ca", Material{CA: append(partner.ca(), mesh.ca()...)}); err != nil {
		t.Fatal(err)
	}
	const theirs = "spiffe://partner.example/ns/shop/sa/web"
	for name, c := range map[string]struct {
		client, workload Certificate
		want, claimed    string
	}{
		"of the partner, as itself":            {partner.holder(theirs), mesh.holder(catalog), theirs, ""},
		"of the partner, as one of the mesh":   {partner.holder(web), mesh.holder(catalog), "", web},
		"of the partner, under an alias":       {partner.holder("spiffe://old.example.com/ns/shop/sa/web"), mesh.holder(catalog), "", "spiffe://old.example.com/ns/shop/sa/web"},
		"of the mesh, under an alias":          {mesh.holder("spiffe://old.example.com/ns/shop/sa/web"), mesh.holder(catalog), "spiffe://old.example.com/ns/shop/sa/web", ""},
		"of the partner, below the mesh":       {partner.holder("spiffe://Cluster.local/any"), mesh.holder(catalog), "", "spiffe://Cluster.local/any"},
		"of the mesh":                          {mesh.holder(web), mesh.holder(catalog), web, ""},
		"before the mesh's own name is known":  {partner.holder(web), holder{}, "", web},
		"of the partner, where there is none":  {partner.holder(web), nil, web, ""},
		"of the partner, without such a name":  {partner.holder("web.partner.example"), mesh.holder(catalog), "", ""},
		"of the partner, as a name of its own": {partner.holder("https://partner.example/web"), mesh.holder(catalog), "https://partner.example/web", ""},
		"of the partner, with several":         {partner.holder(theirs + ",urn:web"), mesh.holder(catalog), theirs + ",urn:web", ""},
		"of the partner, one of the mesh's":    {partner.holder(theirs + "," + web), mesh.holder(catalog), "", theirs + "," + web},
	} {
		t.Run(name, func(t *testing.T) {
			server := NewServer(ServerConfig{Certificates: []Certificate{partner.holder("catalog.example.com")}, Workload: c.workload, Mesh: mesh, Domains: []string{"old.example.com"},
				Peer: &Peer{Required: true, Trust: Trust{Secret: secrets.Slot("ca")}}})
			s, _, sErr, cErr := meet(t, server, NewClient(ClientConfig{Certificate: c.client, Trust: Trust{Nothing: true}}), &exchange.Endpoint{}, exchange.HTTP1)
			if sErr != nil || cErr != nil {
				t.Fatal(sErr, cErr)
			}
			if s.Identity.URI+strings.Join(s.URIs, ",") != c.want || strings.Join(s.Claimed, ",") != c.claimed || !s.Mutual || s.Cert == nil {
				t.Errorf("server saw %+v", s)
			}
		})
	}
}

// TestNames: which names of a certificate are accepted.
func TestNames(t *testing.T) {
	spiffe, err := url.Parse(web)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{URIs: []*url.URL{spiffe}, DNSNames: []string{"DB01.CORP.LOCAL", "*.Example.com"}, EmailAddresses: []string{"alice@example.com"},
		IPAddresses: []net.IP{net.ParseIP("10.1.2.3").To4(), net.ParseIP("2001:db8::1")}}
	for name, c := range map[string]struct {
		kind NameType
		text match.Config
		want bool
	}{
		"an address":                      {AnyName, match.Config{Value: "10.1.2.3"}, true},
		"an address, as such":             {AddressName, match.Config{Value: "2001:db8::1"}, true},
		"an address, as a DNS name":       {DNSName, match.Config{Value: "10.1.2.3"}, false},
		"another address":                 {AnyName, match.Config{Value: "10.1.2.30"}, false},
		"an email address":                {AnyName, match.Config{Value: "alice@example.com"}, true},
		"an email address, as such":       {EmailName, match.Config{Value: "alice@example.com"}, true},
		"an email address, as a URI":      {URIName, match.Config{Value: "alice@example.com"}, false},
		"another email address":           {AnyName, match.Config{Value: "mallory@example.com"}, false},
		"a DNS name in lower case":        {AnyName, match.Config{Value: "db01.corp.local"}, true},
		"a DNS name by a wildcard":        {DNSName, match.Config{Value: "SHOP.example.com"}, true},
		"two labels for a wildcard":       {AnyName, match.Config{Value: "a.shop.example.com"}, false},
		"a beginning, in another case":    {DNSName, match.Config{Kind: match.Prefix, Value: "db01"}, false},
		"a URI":                           {AnyName, match.Config{Value: web}, true},
		"a URI in another case":           {AnyName, match.Config{Value: strings.ToUpper(web)}, false},
		"a URI, as a DNS name":            {DNSName, match.Config{Value: web}, false},
		"a beginning of an email address": {EmailName, match.Config{Kind: match.Prefix, Value: "alice@"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := match.New(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := named(leaf, []Name{{Type: c.kind, Match: m}}); got != c.want {
				t.Errorf("accepted: %v", got)
			}
		})
	}
}

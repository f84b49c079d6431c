package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	security "istio.io/api/security/v1alpha1"
)

var shop = spiffe.Identity{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}

// testCA signs what it is asked to, with the deviations that a test wants.
type testCA struct {
	security.UnimplementedIstioCertificateServiceServer
	key  *ecdsa.PrivateKey
	cert *x509.Certificate

	mu       sync.Mutex
	calls    []time.Time
	tokens   []string
	fail     error
	identity string        // default shop
	domain   string        // that it proves to be of
	life     time.Duration // default: as asked
	change   func(*x509.Certificate)
	public   crypto.PublicKey // default: the CSR's
}

func newCA(t *testing.T) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Add(-time.Minute), NotAfter: now.Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{key: key, cert: cert, identity: shop.String()}
}

func (ca *testCA) root() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
}

// Sign implements Authority.
func (ca *testCA) Sign(_ context.Context, csr []byte, ttl time.Duration) (Answer, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.calls = append(ca.calls, time.Now())
	if ca.fail != nil {
		return Answer{}, ca.fail
	}
	block, _ := pem.Decode(csr)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return Answer{}, err
	}
	if ca.life != 0 {
		ttl = ca.life
	}
	uri, err := url.Parse(ca.identity)
	if err != nil {
		return Answer{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(len(ca.calls))), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(ttl),
		URIs: []*url.URL{uri}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	if ca.change != nil {
		ca.change(template)
	}
	public := request.PublicKey
	if ca.public != nil {
		public = ca.public
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Chain: []string{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(ca.root())}, TrustDomain: ca.domain}, nil
}

// CreateCertificate implements the gRPC service.
func (ca *testCA) CreateCertificate(ctx context.Context, in *security.IstioCertificateRequest) (*security.IstioCertificateResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	token := strings.Join(md.Get("authorization"), ",")
	ca.mu.Lock()
	ca.tokens = append(ca.tokens, token)
	ca.mu.Unlock()
	if !strings.HasPrefix(token, "Bearer ") {
		return nil, status.Error(codes.Unauthenticated, "no token")
	}
	answer, err := ca.Sign(ctx, []byte(in.GetCsr()), time.Duration(in.GetValidityDuration())*time.Second)
	return &security.IstioCertificateResponse{CertChain: answer.Chain}, err
}

func (ca *testCA) count() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return len(ca.calls)
}

func rootsOf(t *testing.T, cas ...*testCA) (*Roots, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root-cert.pem")
	writeRoots(t, path, cas...)
	return NewRoots(path), path
}

func writeRoots(t *testing.T, path string, cas ...*testCA) {
	t.Helper()
	var data []byte
	for _, ca := range cas {
		data = append(data, ca.root()...)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestRenewsAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t)
		roots, _ := rootsOf(t, ca)
		w := New(Options{Expected: shop, TTL: 24 * time.Hour, Authority: ca, Roots: roots, Log: quiet()})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		<-w.Ready()
		first := w.Certificate()
		time.Sleep(10 * time.Hour)
		if w.Certificate() != first {
			t.Error("renewed long before half life")
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if w.Certificate() == first || ca.count() != 2 {
			t.Errorf("not renewed after half life; %d calls", ca.count())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRetriesWithBackoffAndKeepsTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t)
		roots, _ := rootsOf(t, ca)
		w := New(Options{Expected: shop, TTL: time.Hour, Authority: ca, Roots: roots, Log: quiet()})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx) // ends with ctx
		<-w.Ready()
		ca.mu.Lock()
		ca.fail = errors.New("away")
		ca.mu.Unlock()
		time.Sleep(50 * time.Minute)
		if w.Certificate() == nil {
			t.Error("the old certificate is still valid and was dropped")
		}
		if n := ca.count(); n < 20 || n > 60 {
			t.Errorf("%d attempts in about twenty minutes", n)
		}
		time.Sleep(20 * time.Minute)
		if w.Certificate() != nil {
			t.Error("an expired certificate is still handed out")
		}
		ca.mu.Lock()
		ca.fail = nil
		ca.mu.Unlock()
		time.Sleep(time.Minute)
		if w.Certificate() == nil {
			t.Error("not renewed after the CA came back")
		}
	})
}

// TestClocksThatDiffer holds what becomes of a proxy whose clock is not the CA's: within the five minutes that the CA dates back it is served, beyond it
// trusts no certificate, asks seldom, and is served once its clock is right.
func TestClocksThatDiffer(t *testing.T) {
	const datedBack, life = 5 * time.Minute, 2 * time.Hour
	for says, c := range map[string]struct {
		ahead  time.Duration // of the CA's clock
		served bool
	}{
		"right": {0, true}, "a little behind": {-4 * time.Minute, true}, "far behind": {-6 * time.Minute, false},
		"ahead": {time.Hour, true}, "ahead by more than a certificate's life": {3 * time.Hour, false},
	} {
		t.Run(says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, ahead := newCA(t), c.ahead
				ca.change = func(cert *x509.Certificate) {
					now := time.Now().Add(-ahead)
					cert.NotBefore, cert.NotAfter = now.Add(-datedBack), now.Add(life)
				}
				roots, _ := rootsOf(t, ca)
				w := New(Options{Expected: shop, TTL: life, Authority: ca, Roots: roots, Log: quiet()})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				time.Sleep(10 * time.Minute)
				if served := w.Certificate() != nil; served != c.served {
					t.Errorf("after ten minutes it has a certificate: %t", served)
				}
				if n := ca.count(); c.served && n != 1 || !c.served && (n < 10 || n > 60) {
					t.Errorf("it asked %d times in ten minutes", n)
				}
				ca.mu.Lock()
				ahead = 0
				ca.mu.Unlock()
				time.Sleep(life)
				if w.Certificate() == nil {
					t.Error("no certificate though the clock is right again")
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRetriesMoreOftenTheLessLifeIsLeft(t *testing.T) {
	for _, c := range []struct{ last, remaining, want time.Duration }{
		{0, 0, firstBackoff}, {0, 12 * time.Hour, firstBackoff}, {20 * time.Second, 12 * time.Hour, lastBackoff}, {20 * time.Second, 0, lastBackoff},
		{20 * time.Second, time.Minute, 6 * time.Second}, {20 * time.Second, time.Second, firstBackoff},
	} {
		if got := nextBackoff(c.last, c.remaining); got != c.want {
			t.Errorf("after %v with %v left: %v, want %v", c.last, c.remaining, got, c.want)
		}
	}
}

func TestRefusesTheWrongAnswer(t *testing.T) {
	stranger := newCA(t)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for name, bend := range map[string]func(*testCA){
		"another account": func(ca *testCA) { ca.identity = "spiffe://cluster.local/ns/shop/sa/other" },
		"another domain":  func(ca *testCA) { ca.identity = "spiffe://example.org/ns/shop/sa/web" },
		"a domain that the CA is not of": func(ca *testCA) {
			ca.identity, ca.domain = "spiffe://example.org/ns/shop/sa/web", "new.example.com"
		},
		"another account of the CA's domain": func(ca *testCA) {
			ca.identity, ca.domain = "spiffe://new.example.com/ns/shop/sa/other", "new.example.com"
		},
		"another namespace of the CA's domain": func(ca *testCA) {
			ca.identity, ca.domain = "spiffe://new.example.com/ns/bank/sa/web", "new.example.com"
		},
		"another key":        func(ca *testCA) { ca.public = other.Public() },
		"a DNS name":         func(ca *testCA) { ca.change = func(c *x509.Certificate) { c.DNSNames = []string{"web.shop.svc"} } },
		"a CA":               func(ca *testCA) { ca.change = func(c *x509.Certificate) { c.IsCA = true } },
		"clients only":       func(ca *testCA) { ca.change = func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] } },
		"expired":            func(ca *testCA) { ca.life = -time.Second },
		"a foreign root":     func(ca *testCA) { ca.key, ca.cert = stranger.key, stranger.cert },
		"nothing but a root": func(ca *testCA) { ca.public = ca.key.Public(); ca.change = func(c *x509.Certificate) { c.URIs = nil } },
	} {
		t.Run(name, func(t *testing.T) {
			ca := newCA(t)
			roots, _ := rootsOf(t, ca)
			bend(ca)
			w := New(Options{Expected: shop, TTL: time.Hour, Authority: ca, Roots: roots, Log: quiet()})
			if err := w.renew(t.Context()); err == nil || w.Certificate() != nil {
				t.Errorf("accepted (%v)", err)
			}
		})
	}
}

func TestRootRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := newCA(t), newCA(t)
		roots, path := rootsOf(t, old)
		current := &switching{now: old}
		w := New(Options{Expected: shop, TTL: 24 * time.Hour, Authority: current, Roots: roots, Log: quiet()})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx) // ends with ctx
		<-w.Ready()
		first := w.Certificate()
		writeRoots(t, path, old, next)
		time.Sleep(5 * time.Second)
		if len(roots.Certificates()) != 2 || w.Certificate() != first {
			t.Error("a bundle that still holds our root: load it, keep the certificate")
		}
		current.set(next)
		writeRoots(t, path, next)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if w.Certificate() == first {
			t.Error("our root is gone, yet the certificate was not renewed")
		}
		if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if len(roots.Certificates()) != 1 {
			t.Error("a broken file replaced the anchors")
		}
	})
}

type switching struct {
	mu  sync.Mutex
	now *testCA
}

func (s *switching) set(ca *testCA) { s.mu.Lock(); s.now = ca; s.mu.Unlock() }

func (s *switching) Sign(ctx context.Context, csr []byte, ttl time.Duration) (Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.Sign(ctx, csr, ttl)
}

func TestSignerHidesTheKey(t *testing.T) {
	ca := newCA(t)
	roots, _ := rootsOf(t, ca)
	w := New(Options{Expected: shop, TTL: time.Hour, Authority: ca, Roots: roots, Log: quiet()})
	if err := w.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Certificate().PrivateKey.(*ecdsa.PrivateKey); ok {
		t.Error("the key itself was handed out")
	}
	if got := fmt.Sprintf("%v %+v %#v", w.Certificate().PrivateKey, w.Certificate().PrivateKey, w.Certificate().PrivateKey); got != "redacted redacted redacted" {
		t.Errorf("the key prints as %s", got)
	}
	if n := len(w.Certificate().Certificate); n != 1 {
		t.Errorf("%d certificates are sent to peers, want the leaf only", n)
	}
}

func TestOverTheWire(t *testing.T) {
	ca := newCA(t)
	address := serve(t, ca, "heddled.heddle-system.svc")
	roots, _ := rootsOf(t, ca)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plane := ControlPlane{Address: address, TokenPath: token, ClusterID: "Kubernetes", Roots: roots}
	w := New(Options{Expected: shop, TTL: time.Hour, Authority: RemoteAuthority{plane}, Roots: roots, Log: quiet()})
	if err := w.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(token, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ca.tokens, " "); got != "Bearer one Bearer two" {
		t.Errorf("tokens: %s", got)
	}
}

// TestMovesToAnotherTrustDomain holds that a proxy which was made in one trust domain takes a certificate of the one that its control plane has by now, and of
// no other.
func TestMovesToAnotherTrustDomain(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	const self = "/ns/heddle-system/sa/heddled"
	for name, c := range map[string]struct {
		signs  string
		serves []string
		ok     bool
	}{
		"the old one still":                     {"cluster.local", []string{"spiffe://cluster.local" + self}, true},
		"the new one":                           {"new.example.com", []string{"spiffe://new.example.com" + self}, true},
		"the old one, by a CA of the new":       {"cluster.local", []string{"spiffe://new.example.com" + self}, true},
		"the new one, by a CA of the old":       {"new.example.com", []string{"spiffe://cluster.local" + self}, false},
		"the new one, by a CA of none":          {"new.example.com", nil, false},
		"the new one, by a CA of two":           {"new.example.com", []string{"spiffe://new.example.com" + self, "spiffe://cluster.local" + self}, false},
		"the new one, by a CA of no identity":   {"new.example.com", []string{"spiffe://new.example.com/heddled"}, false},
		"a third one, by a CA of the new":       {"other.example.com", []string{"spiffe://new.example.com" + self}, false},
		"the new one, by a CA of another place": {"new.example.com", []string{"https://new.example.com" + self}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ca := newCA(t)
			ca.identity = "spiffe://" + c.signs + "/ns/shop/sa/web"
			var names []*url.URL
			for _, text := range c.serves {
				uri, err := url.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, uri)
			}
			roots, _ := rootsOf(t, ca)
			plane := ControlPlane{Address: serve(t, ca, "heddled.heddle-system.svc", names...), TokenPath: token, Roots: roots}
			w := New(Options{Expected: shop, TTL: time.Hour, Authority: RemoteAuthority{plane}, Roots: roots, Log: quiet()})
			if err := w.renew(t.Context()); (err == nil) != c.ok || (w.Certificate() != nil) != c.ok {
				t.Errorf("accepted: %v", err)
			}
		})
	}
}

func TestRefusesAnotherControlPlane(t *testing.T) {
	ca, stranger := newCA(t), newCA(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, server := range map[string]struct {
		ca   *testCA
		host string
	}{"foreign root": {stranger, "heddled.heddle-system.svc"}, "other name": {ca, "web.shop.svc"}} {
		t.Run(name, func(t *testing.T) {
			roots, _ := rootsOf(t, ca)
			plane := ControlPlane{Address: serve(t, server.ca, server.host), TokenPath: token, Roots: roots}
			w := New(Options{Expected: shop, Authority: RemoteAuthority{plane}, Roots: roots, Log: quiet()})
			if err := w.renew(t.Context()); err == nil {
				t.Error("accepted")
			}
			if len(server.ca.tokens) != 0 {
				t.Error("the token was shown to it")
			}
		})
	}
}

// serve runs ca over TLS under the DNS name host and returns its address.
func serve(t *testing.T, ca *testCA, host string, names ...*url.URL) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{host}, URIs: names,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour)}, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})))
	security.RegisterIstioCertificateServiceServer(server, ca)
	go server.Serve(listener) // ends with Stop
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

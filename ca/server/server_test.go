package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	security "istio.io/api/security/v1alpha1"

	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/ca/server"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

const (
	catalog = "spiffe://cluster.local/ns/shop/sa/catalog"
	dnsName = "heddled.heddle-system.svc"
)

// world is a CA that serves on the loopback, and what it logs and counts.
type world struct {
	t         *testing.T
	authority *authority.Authority
	client    security.IstioCertificateServiceClient
	log       *bytes.Buffer
	reader    *sdkmetric.ManualReader
	stop      func()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newAuthority() *authority.Authority {
	td := spiffeid.RequireTrustDomainFromString("cluster.local")
	return must(authority.Parse(must(authority.Generate(td, time.Now())), td))
}

func identity(s string) spiffe.Identity { return must(spiffe.Parse(s)) }

// prove believes the token "good" and has trouble with the token "trouble".
func prove(_ context.Context, p attest.Proof) (attest.Caller, error) {
	switch {
	case p.Token == "good":
		return attest.Caller{Identity: identity(catalog), PodName: "catalog-1"}, nil
	case p.Token == "machine" || p.Token == "" && len(p.Chain) > 0 && issue.OfMachine(p.Chain[0]):
		return attest.Caller{Identity: identity(catalog), Machine: true}, nil
	case p.Token == "trouble":
		return attest.Caller{}, errors.New("apiserver: secret detail")
	case len(p.Chain) > 0:
		return attest.Caller{Identity: identity(catalog)}, nil
	}
	return attest.Caller{}, &attest.Refusal{Check: "token", Who: "system:serviceaccount:shop:eve", Reason: "the token is not valid"}
}

func serve(t *testing.T, a *authority.Authority, clientCerts ...tls.Certificate) *world {
	t.Helper()
	w := &world{t: t, authority: a, log: &bytes.Buffer{}, reader: sdkmetric.NewManualReader()}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.reader))
	ca := must(server.New(server.Config{Authority: w.authority, Attest: prove, Policy: issue.DefaultPolicy(),
		Meter: provider.Meter("ca"), Log: slog.New(slog.NewTextHandler(w.log, nil))}))
	serving := server.NewServing(w.authority, identity("spiffe://cluster.local/ns/heddle-system/sa/heddled"), []string{dnsName}, time.Hour, time.Now)
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(serving.DiscoveryTLS())))
	ca.Register(s)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() { _ = s.Serve(listener) }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.authority.BundlePEM())
	conn := must(grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{RootCAs: roots, ServerName: dnsName, Certificates: clientCerts}))))
	w.client, w.stop = security.NewIstioCertificateServiceClient(conn), s.GracefulStop
	t.Cleanup(func() { _ = conn.Close(); s.Stop() })
	return w
}

func (w *world) ask(token string, request *security.IstioCertificateRequest) ([]string, codes.Code, string) {
	ctx := w.t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	out, err := w.client.CreateCertificate(ctx, request)
	return out.GetCertChain(), status.Code(err), status.Convert(err).Message()
}

// counted returns the counter by result; the server must have stopped.
func (w *world) counted() map[string]int64 {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &all); err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
				result, _ := point.Attributes.Value("result")
				out[result.AsString()] += point.Value
			}
		}
	}
	return out
}

func csr(names ...string) string {
	template := &x509.CertificateRequest{}
	for _, n := range names {
		template.URIs = append(template.URIs, must(url.Parse(n)))
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: must(x509.CreateCertificateRequest(rand.Reader, template, key))}))
}

func certificate(text string) *x509.Certificate {
	block, _ := pem.Decode([]byte(text))
	return must(x509.ParseCertificate(block.Bytes))
}

func TestIssued(t *testing.T) {
	w := serve(t, newAuthority())
	chain, code, message := w.ask("good", &security.IstioCertificateRequest{Csr: csr(), ValidityDuration: 3600})
	if code != codes.OK || len(chain) != 2 {
		t.Fatalf("%s %s, %d certificates", code, message, len(chain))
	}
	leaf := certificate(chain[0])
	id, _, err := x509svid.Verify([]*x509.Certificate{leaf}, w.authority.Bundle())
	if err != nil || id.String() != catalog {
		t.Errorf("the leaf is of %s: %v", id, err)
	}
	if left := time.Until(leaf.NotAfter); left > time.Hour || left < 59*time.Minute {
		t.Errorf("valid for %s, asked for an hour", left)
	}
	if !certificate(chain[1]).Equal(w.authority.Bundle().X509Authorities()[0]) {
		t.Error("the chain does not end in the root")
	}
	w.stop()
	if got := w.counted(); got["issued"] != 1 || len(got) != 1 {
		t.Errorf("counted %v", got)
	}
}

func TestRefused(t *testing.T) {
	const other = "spiffe://cluster.local/ns/shop/sa/admin"
	for _, c := range []struct {
		why, token string
		request    *security.IstioCertificateRequest
		code       codes.Code
		result     string
		logged     []string
	}{
		{"no token", "", &security.IstioCertificateRequest{Csr: csr()}, codes.Unauthenticated, "token", []string{"check=token", "from=127.0.0.1"}},
		{"an invalid token", "bad", &security.IstioCertificateRequest{Csr: csr()}, codes.Unauthenticated, "token", []string{"who=system:serviceaccount:shop:eve"}},
		{"another identity", "good", &security.IstioCertificateRequest{Csr: csr(other)}, codes.InvalidArgument, "san", []string{"who=" + catalog, other, "pod=catalog-1"}},
		{"no request", "good", &security.IstioCertificateRequest{Csr: "x"}, codes.InvalidArgument, "syntax", []string{"who=" + catalog}},
		{"a year", "good", &security.IstioCertificateRequest{Csr: csr(), ValidityDuration: 365 * 86400}, codes.InvalidArgument, "lifetime", nil},
		{"a life that overflows", "good", &security.IstioCertificateRequest{Csr: csr(), ValidityDuration: 1 << 62}, codes.InvalidArgument, "lifetime", nil},
		{"our own trouble", "trouble", &security.IstioCertificateRequest{Csr: csr()}, codes.Unavailable, "error", []string{"secret detail"}},
	} {
		w := serve(t, newAuthority())
		chain, code, message := w.ask(c.token, c.request)
		w.stop()
		if code != c.code || chain != nil {
			t.Errorf("%s: %s %q, want %s", c.why, code, message, c.code)
		}
		if strings.Contains(message, "secret detail") {
			t.Errorf("%s: the caller learns of our troubles: %s", c.why, message)
		}
		if got := w.counted(); got[c.result] != 1 || len(got) != 1 {
			t.Errorf("%s: counted %v, want one %s", c.why, got, c.result)
		}
		for _, want := range c.logged {
			if !strings.Contains(w.log.String(), want) {
				t.Errorf("%s: the log does not say %s: %s", c.why, want, w.log)
			}
		}
	}
}

// A stolen key must not renew itself for ever.
func TestCertificateAloneRenewsNothing(t *testing.T) {
	a := newAuthority()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := must(issue.Decide(issue.Request{CSR: must(issue.ParseCSR([]byte(csr()))), Caller: identity(catalog)}, issue.DefaultPolicy(), time.Now()))
	chain := must(a.Sign(template, key.Public()))
	w := serve(t, a, tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key})
	if got, code, _ := w.ask("", &security.IstioCertificateRequest{Csr: csr()}); code != codes.Unauthenticated || got != nil {
		t.Errorf("a certificate alone got %s", code)
	}
	if _, code, message := w.ask("good", &security.IstioCertificateRequest{Csr: csr()}); code != codes.OK {
		t.Errorf("with a token as well: %s %s", code, message)
	}
}

// A machine renews by its certificate, which says that it is a machine's, and stays one.
func TestAMachineRenewsByItsCertificate(t *testing.T) {
	a := newAuthority()
	first := serve(t, a)
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	request := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))
	chain, code, message := first.ask("machine", &security.IstioCertificateRequest{Csr: text})
	if code != codes.OK || !issue.OfMachine(certificate(chain[0])) {
		t.Fatalf("%s %s: %v", code, message, chain)
	}
	if chain, _, _ := first.ask("good", &security.IstioCertificateRequest{Csr: csr()}); issue.OfMachine(certificate(chain[0])) {
		t.Error("a pod's certificate says that it is a machine's")
	}
	w := serve(t, a, tls.Certificate{Certificate: [][]byte{certificate(chain[0]).Raw}, PrivateKey: key})
	again, code, message := w.ask("", &security.IstioCertificateRequest{Csr: csr()})
	if code != codes.OK || !issue.OfMachine(certificate(again[0])) || certificate(again[0]).URIs[0].String() != catalog {
		t.Errorf("%s %s", code, message)
	}
}

// A client certificate of another mesh is no proof of anything, not even beside a good token.
func TestForeignCertificateEndsTheHandshake(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := must(issue.Decide(issue.Request{CSR: must(issue.ParseCSR([]byte(csr()))), Caller: identity(catalog)}, issue.DefaultPolicy(), time.Now()))
	foreign := must(newAuthority().Sign(template, key.Public()))
	w := serve(t, newAuthority(), tls.Certificate{Certificate: [][]byte{foreign[0].Raw}, PrivateKey: key})
	if _, code, message := w.ask("good", &security.IstioCertificateRequest{Csr: csr()}); code != codes.Unavailable {
		t.Errorf("answered %s %s", code, message)
	}
}

func TestServingCertificate(t *testing.T) {
	a, now := newAuthority(), time.Now()
	clock := now
	s := server.NewServing(a, identity("spiffe://cluster.local/ns/heddle-system/sa/heddled"), server.ServiceNames("heddled", "heddle-system", "cluster.local"),
		24*time.Hour, func() time.Time { return clock })
	first := must(s.GetCertificate(nil))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.BundlePEM())
	for _, name := range []string{"heddled.heddle-system.svc", "heddled.heddle-system.svc.cluster.local", "heddled.heddle-system", "heddled"} {
		if _, err := first.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []struct {
		at   time.Duration
		same bool
	}{{11 * time.Hour, true}, {13 * time.Hour, false}} {
		clock = now.Add(c.at)
		if got := must(s.GetCertificate(nil)); (got == first) != c.same {
			t.Errorf("after %s: the same certificate is %t, want %t", c.at, got == first, c.same)
		}
	}
	clock = now.Add(20 * 365 * 24 * time.Hour)
	if _, err := s.GetCertificate(nil); err == nil {
		t.Error("an expired root serves")
	}
}

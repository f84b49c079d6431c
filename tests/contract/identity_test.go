package contract

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/ca/server"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// authorities is the real CA behind gRPC, for tokens of the form "namespace/account".
type authorities struct {
	address string
	roots   []byte
	calls   atomic.Int64
}

func newAuthorities(t *testing.T) *authorities {
	t.Helper()
	return authoritiesOf(t, newRoot(t), "cluster.local")
}

// newRoot is a root of cluster.local.
func newRoot(t *testing.T) map[string][]byte {
	t.Helper()
	root, err := authority.Generate(spiffeid.RequireTrustDomainFromString("cluster.local"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// authoritiesOf is newAuthorities for a trust domain, and with a root that may be of cluster.local.
func authoritiesOf(t *testing.T, root map[string][]byte, domain string) *authorities {
	t.Helper()
	a, err := authority.Parse(root, spiffeid.RequireTrustDomainFromString(domain), spiffeid.RequireTrustDomainFromString("cluster.local"))
	if err != nil {
		t.Fatal(err)
	}
	out := &authorities{roots: a.BundlePEM()}
	policy := issue.DefaultPolicy()
	ca, err := server.New(server.Config{Authority: a, Policy: policy, Meter: noop.NewMeterProvider().Meter("ca"), Log: slog.New(slog.DiscardHandler),
		Attest: func(_ context.Context, p attest.Proof) (attest.Caller, error) {
			out.calls.Add(1)
			namespace, account, _ := strings.Cut(p.Token, "/")
			id, err := spiffe.New(domain, namespace, account)
			if err != nil {
				return attest.Caller{}, &attest.Refusal{Check: "token", Reason: "the token is not valid"}
			}
			return attest.Caller{Identity: id, Namespace: namespace, ServiceAccount: account}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	self, err := spiffe.New(domain, "heddle-system", "heddled")
	if err != nil {
		t.Fatal(err)
	}
	serving := server.NewServing(a, self, server.ServiceNames("heddled", "heddle-system", "cluster.local"), time.Hour, time.Now)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out.address = listener.Addr().String()
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(serving.DiscoveryTLS())))
	ca.Register(s)
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	return out
}

// workload is a proxy's identity whose token says who, and which expects to be expected.
func (a *authorities) workload(t *testing.T, who, expected string, ttl time.Duration) *identity.Workload {
	t.Helper()
	dir := t.TempDir()
	token, bundle := filepath.Join(dir, "token"), filepath.Join(dir, "root.pem")
	for name, data := range map[string][]byte{token: []byte(who), bundle: a.roots} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id, err := spiffe.Parse(expected)
	if err != nil {
		t.Fatal(err)
	}
	roots := identity.NewRoots(bundle)
	w := identity.New(identity.Options{Expected: id, TTL: ttl, Roots: roots, Log: slog.New(slog.DiscardHandler),
		Authority: identity.RemoteAuthority{ControlPlane: identity.ControlPlane{Address: a.address, TokenPath: token, Roots: roots}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestIdentityFromTheCA holds that what the CA issues is what a proxy accepts, renewed every few seconds under a connection that stays open.
func TestIdentityFromTheCA(t *testing.T) {
	ca := newAuthorities(t)
	const web, catalog = "spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/catalog"
	client, service := ca.workload(t, "shop/web", web, 3*time.Second), ca.workload(t, "shop/catalog", catalog, 3*time.Second)
	<-client.Ready()
	<-service.Ready()
	mesh := mtls.NewServer(mtls.ServerConfig{Certificates: []mtls.Certificate{service}, Peer: &mtls.Peer{Required: true, Trust: mtls.Trust{Mesh: service.Roots()}}})
	dial := func() (near, far net.Conn, seen *exchange.Security) {
		t.Helper()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		raw, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		type end struct {
			conn net.Conn
			seen *exchange.Security
			err  error
		}
		ends := make(chan end, 1)
		go func() { c, s, err := mesh.Server(t.Context(), accepted); ends <- end{c, s, err} }()
		near, _, err = mtls.NewClient(mtls.ClientConfig{Certificate: client, Trust: mtls.Trust{Mesh: client.Roots()}}).
			Handshake(t.Context(), raw, &exchange.Endpoint{Identity: catalog}, "", exchange.TCP)
		e := <-ends
		if err != nil || e.err != nil {
			t.Fatal(err, e.err)
		}
		t.Cleanup(func() { near.Close(); e.conn.Close() })
		return near, e.conn, e.seen
	}
	near, far, seen := dial()
	if seen.Identity.URI != web {
		t.Errorf("the server saw %s", seen.Identity.URI)
	}
	first, calls := client.Certificate(), ca.calls.Load()
	time.Sleep(4 * time.Second)
	if got := client.Certificate(); got == nil || got == first {
		t.Error("not renewed within its life")
	}
	if n := ca.calls.Load() - calls; n < 4 || n > 12 {
		t.Errorf("%d calls for two workloads in more than a life", n)
	}
	if _, err := near.Write([]byte("x")); err != nil {
		t.Errorf("the open connection: %v", err)
	}
	if _, err := far.Read(make([]byte, 1)); err != nil {
		t.Errorf("the open connection: %v", err)
	}
	dial() // and new ones come about
}

// TestIdentityOfAMovedMesh holds that proxies which were made in one trust domain take certificates of the next one, and back, from a control plane that
// keeps its root; and that those who have renewed theirs and those who have not know each other.
func TestIdentityOfAMovedMesh(t *testing.T) {
	root := newRoot(t)
	before, after := authoritiesOf(t, root, "cluster.local"), authoritiesOf(t, root, "new.example.com")
	const old, moved = "spiffe://cluster.local/ns/shop/sa/web", "spiffe://new.example.com/ns/shop/sa/web"
	all := map[string]*identity.Workload{}
	for made, planes := range map[string]map[string]*authorities{old: {old: before, moved: after}, moved: {old: before, moved: after}} {
		for signed, plane := range planes {
			w := plane.workload(t, "shop/web", made, time.Hour)
			select {
			case <-w.Ready():
			case <-time.After(20 * time.Second):
				t.Fatalf("no certificate for %s, made as %s", signed, made)
			}
			if got := w.Certificate().Leaf.URIs[0].String(); got != signed {
				t.Errorf("made as %s, it is %s, want %s", made, got, signed)
			}
			all[signed] = w
		}
	}
	other := after.workload(t, "shop/other", "spiffe://cluster.local/ns/shop/sa/other", time.Hour)
	<-other.Ready()
	for _, c := range []struct {
		client, server *identity.Workload
		endpoint       string
		ok             bool
	}{
		{all[old], all[moved], moved, true}, {all[moved], all[old], moved, true}, {all[old], all[moved], old, true}, {all[moved], other, moved, false},
	} {
		mesh := mtls.NewServer(mtls.ServerConfig{Certificates: []mtls.Certificate{c.server}, Peer: &mtls.Peer{Required: true, Trust: mtls.Trust{Mesh: c.server.Roots()}}})
		client := mtls.NewClient(mtls.ClientConfig{Certificate: c.client, Trust: mtls.Trust{Mesh: c.client.Roots()},
			Domains: []string{"spiffe://new.example.com/", "spiffe://cluster.local/"}})
		near, far := net.Pipe()
		go func() {
			if conn, _, err := mesh.Server(t.Context(), far); err == nil {
				_, _ = conn.Read(make([]byte, 1))
			}
			far.Close()
		}()
		if _, _, err := client.Handshake(t.Context(), near, &exchange.Endpoint{Identity: c.endpoint}, "", exchange.TCP); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.endpoint, c.server.Certificate().Leaf.URIs[0], err)
		}
		near.Close()
	}
}

// TestIdentityOfSomebodyElse holds that a proxy takes no certificate for another account than its own, and gets none without a valid token.
func TestIdentityOfSomebodyElse(t *testing.T) {
	ca := newAuthorities(t)
	for name, who := range map[string]string{"another account's token": "shop/other", "no valid token": "rubbish"} {
		w := ca.workload(t, who, "spiffe://cluster.local/ns/shop/sa/web", time.Hour)
		select {
		case <-w.Ready():
			t.Errorf("%s: it has a certificate", name)
		case <-time.After(700 * time.Millisecond):
		}
		if cert := w.Certificate(); cert != nil {
			t.Errorf("%s: %v", name, cert.Leaf.URIs)
		}
	}
}

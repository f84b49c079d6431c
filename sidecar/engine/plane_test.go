package engine_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	xds "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	security "istio.io/api/security/v1alpha1"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/admin"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/engine"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/sidecar/role"
)

// plane is a control plane for tests: a CA that believes tokens of the form "namespace/account", and go-control-plane's own ADS server.
type plane struct {
	security.UnimplementedIstioCertificateServiceServer
	t        *testing.T
	key      *ecdsa.PrivateKey
	cert     *x509.Certificate
	address  string
	life     time.Duration
	issued   atomic.Int64
	cache    cache.SnapshotCache
	nacks    nackLog
	asked    nackLog                    // names of subscriptions
	onDemand bool                       // the proxies that are started ask for what they use
	foreign  bool                       // the proxies that are started take it for a control plane that is not Heddle's
	drain    time.Duration              // how long connections of the proxies that are started may take to end; 0: 1 s
	takeover string                     // path by which proxies of one account take over from each other: they have the same addresses
	ended    func(context.Context) bool // says when the application beside has ended; nil: it has, once a proxy is told to
	same     map[string]engine.Addresses
	leaf     *tls.Certificate
	stop     func()
}

// nackLog keeps what proxies said.
type nackLog struct {
	mu   sync.Mutex
	text []string
}

func (n *nackLog) add(text string) { n.mu.Lock(); n.text = append(n.text, text); n.mu.Unlock() }

func (n *nackLog) all() []string { n.mu.Lock(); defer n.mu.Unlock(); return n.text }

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, life: time.Hour, cache: cache.NewSnapshotCache(true, byPod{}, nil)}
	p.key, p.cert = p.root()
	leaf := p.serving()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address, p.leaf = listener.Addr().String(), leaf
	p.on(listener)
	return p
}

// serve takes the plane up again after stop.
func (p *plane) serve() {
	p.t.Helper()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.on(listener)
}

func (p *plane) on(listener net.Listener) {
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(p.leaf)))
	p.stop = server.Stop
	security.RegisterIstioCertificateServiceServer(server, p)
	ads.RegisterAggregatedDiscoveryServiceServer(server, xds.NewServer(p.t.Context(), p.cache, xds.CallbackFuncs{
		StreamDeltaRequestFunc: func(_ int64, r *ads.DeltaDiscoveryRequest) error {
			if r.GetErrorDetail() != nil {
				p.nacks.add(r.GetErrorDetail().GetMessage())
			}
			for _, name := range r.GetResourceNamesSubscribe() {
				p.asked.add(name)
			}
			return nil
		},
	}))
	go server.Serve(listener) // ends with Stop
	p.t.Cleanup(server.Stop)
}

type byPod struct{}

// ID implements cache.NodeHash: one configuration for each pod.
func (byPod) ID(node *core.Node) string {
	return node.GetMetadata().GetFields()["NAME"].GetStringValue()
}

func (p *plane) root() (*ecdsa.PrivateKey, *x509.Certificate) {
	p.t.Helper()
	key, template := newKey(p.t), &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		p.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return key, cert
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *plane) serving() *tls.Certificate {
	p.t.Helper()
	key := newKey(p.t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"heddled.heddle-system.svc"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, p.cert, key.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// CreateCertificate implements the CA.
func (p *plane) CreateCertificate(ctx context.Context, in *security.IstioCertificateRequest) (*security.IstioCertificateResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	uri := &url.URL{Scheme: "spiffe", Host: "cluster.local", Path: md.Get("authorization")[0][len("Bearer "):]}
	block, _ := pem.Decode([]byte(in.GetCsr()))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(100 + p.issued.Add(1)), URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(p.life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, p.cert, csr.PublicKey, p.key)
	if err != nil {
		return nil, err
	}
	return &security.IstioCertificateResponse{CertChain: []string{string(encode(der)), string(encode(p.cert.Raw))}}, nil
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// push gives a pod its resources.
func (p *plane) push(pod string, resources map[resource.Type][]types.Resource) {
	p.t.Helper()
	snapshot, err := cache.NewSnapshot(time.Now().Format(time.RFC3339Nano), resources)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cache.SetSnapshot(p.t.Context(), pod, snapshot); err != nil {
		p.t.Fatal(err)
	}
}

// proxy is a running engine.
type proxy struct {
	engine *engine.Engine
	admin  string
	status string
	log    *buffer
	access *buffer
	quit   func()
	done   chan error
}

// buffer is a writer that tests may read while it is written.
type buffer struct {
	mu   sync.Mutex
	data []byte
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	return len(p), nil
}

// String returns what was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.data)
}

// start runs a sidecar for the account in namespace shop, whose pod has the account's name.
func (p *plane) start(account string) *proxy {
	p.t.Helper()
	return p.startAs(role.Sidecar(), account)
}

// startAs runs a proxy in a role.
func (p *plane) startAs(r role.Role, account string) *proxy {
	p.t.Helper()
	dir := p.t.TempDir()
	token, roots := filepath.Join(dir, "token"), identity.NewRoots(filepath.Join(dir, "root.pem"))
	for name, data := range map[string][]byte{token: []byte("/ns/shop/sa/" + account), filepath.Join(dir, "root.pem"): encode(p.cert.Raw)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	out := &proxy{admin: ports.Address(p.t), status: ports.Address(p.t), log: &buffer{}, access: &buffer{}, done: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(out.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	control := identity.ControlPlane{Address: p.address, TokenPath: token, ClusterID: "test", Roots: roots}
	workload := identity.New(identity.Options{Expected: spiffe.Identity{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: account},
		TTL: time.Hour, Authority: identity.RemoteAuthority{ControlPlane: control}, Roots: roots, Log: log})
	addresses := engine.Addresses{Admin: out.admin, Status: out.status, Ready: ports.Address(p.t), Prometheus: ports.Address(p.t)}
	drain := cmp.Or(p.drain, time.Second)
	if p.takeover != "" {
		if before, is := p.same[account]; is {
			addresses = before
		}
		p.same = map[string]engine.Addresses{account: addresses}
		out.admin, out.status, drain = addresses.Admin, addresses.Status, time.Minute
	}
	ctx, quit := context.WithCancel(context.Background())
	out.quit = quit
	out.engine = engine.New(engine.Options{Gateway: r.Gateway, Node: discovery.Node{Type: r.Node, IPs: []string{"127.0.0.1"}, Pod: account, Namespace: "shop", ServiceAccount: account, OnDemand: p.onDemand},
		Identity: workload, Dial: control.Dial, Drains: r.Drains, Termination: engine.Termination{Alone: p.ended == nil, Ended: p.ended, Drain: drain}, Takeover: p.takeover, Foreign: p.foreign,
		App: admin.App{Address: "127.0.0.1"}, Addresses: addresses,
		AccessLog: out.access, Log: log, Level: &slog.LevelVar{}, Quit: quit})
	go func() { out.done <- lifecycle.Run(ctx, r.Stack(out.engine)...) }()
	p.t.Cleanup(func() {
		quit()
		select {
		case err := <-out.done:
			if err != nil {
				p.t.Errorf("%s: %v", account, err)
			}
		case <-time.After(10 * time.Second):
			p.t.Errorf("%s does not end", account)
		}
		if p.t.Failed() {
			p.t.Logf("log of %s:\n%s%s", account, out.log, out.access)
		}
	})
	return out
}

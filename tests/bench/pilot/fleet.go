package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/tests/bench/pilot/stream"
)

// fleet is all clients of a row.
type fleet struct {
	dialer stream.Dialer
	mesh
	serviceIPs []string
	expected   int // services that each is told of
	catalog    *catalog
	clients    []*client

	received atomic.Int64 // bytes of messages
	lost     atomic.Int64 // streams that ended
	refused  atomic.Int64 // attempts that led to no stream
	goal     atomic.Pointer[goal]

	connecting sync.WaitGroup // clients that do not have everything yet
	running    sync.WaitGroup
	stop       context.CancelFunc
}

// goal is what every client is to receive.
type goal struct {
	needs []need
	left  atomic.Int64 // clients
	done  chan struct{}
	at    time.Time // when the last client had it
}

// reached counts a client; the last one ends the wait.
func (g *goal) reached() {
	if g.left.Add(-1) == 0 {
		g.at = time.Now()
		close(g.done)
	}
}

// expect sets what clients wait for from now on.
func (f *fleet) expect(needs ...need) *goal {
	g := &goal{needs: needs, done: make(chan struct{})}
	g.left.Store(int64(len(f.clients)))
	f.goal.Store(g)
	return g
}

// newFleet makes the clients and their certificates, signed by the mesh's own root, so that proving them costs the control plane what it
// costs it with proxies that have been there before. Without a root they connect without TLS.
func newFleet(root *authority.Authority, c *cluster, address string) (*fleet, error) {
	m := c.mesh
	f := &fleet{dialer: stream.Dialer{Address: address, Method: ads.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName, Window: window}, mesh: m,
		serviceIPs: c.addresses, expected: m.told(), catalog: newCatalog(), clients: make([]*client, m.proxies)}
	if root == nil {
		for j := range f.clients {
			f.clients[j] = &client{fleet: f, number: j, node: m.nodeID(j)}
		}
		return f, nil
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(root.BundlePEM())
	err := each(m.proxies, func(j int) error {
		config, err := m.proof(root, j, trusted)
		f.clients[j] = &client{fleet: f, number: j, node: m.nodeID(j), tls: config}
		return err
	})
	return f, err
}

// proof is how the proxy of a pod proves itself.
func (m mesh) proof(root *authority.Authority, pod int, trusted *x509.CertPool) (*tls.Config, error) {
	id, err := spiffe.New(wire.DefaultTrustDomain, m.namespace(m.serviceOf(pod)), m.accountOf(pod))
	if err != nil {
		return nil, err
	}
	certificate, err := sign(root, id)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted,
		ServerName: wire.DiscoveryService + "." + wire.SystemNamespace + ".svc", Certificates: []tls.Certificate{certificate}}, nil
}

// sign makes the certificate that the CA would give a workload.
func sign(root *authority.Authority, id spiffe.Identity) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a client's key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("asking for a client's certificate: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("asking for a client's certificate: %w", err)
	}
	template, err := issue.Decide(issue.Request{Caller: id, CSR: csr}, issue.DefaultPolicy(), time.Now())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issuing %s: %w", id, err)
	}
	chain, err := root.Sign(template, key.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key, Leaf: chain[0]}, nil
}

// root reads the mesh's root, which heddled has made.
func (c *cluster) root(ctx context.Context) (*authority.Authority, error) {
	domain, err := spiffeid.TrustDomainFromString(wire.DefaultTrustDomain)
	if err != nil {
		return nil, err
	}
	return authority.Ensure(ctx, c.kube.CoreV1().Secrets(wire.SystemNamespace), domain, time.Now(), func(context.Context) error {
		return fmt.Errorf("heddled has made no root")
	})
}

// connect starts every client at once and waits until each has everything. They stay connected until end.
func (f *fleet) connect(ctx context.Context, patience time.Duration) (time.Duration, error) {
	began := time.Now()
	ctx, f.stop = context.WithCancel(ctx)
	f.connecting.Add(len(f.clients))
	for _, c := range f.clients {
		f.running.Go(func() { c.run(ctx) })
	}
	done := make(chan struct{})
	go func() {
		f.connecting.Wait()
		close(done)
	}()
	select {
	case <-done:
		return time.Since(began), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(patience):
		return 0, fmt.Errorf("after %v not every client has everything: %s", patience, f.behind())
	}
}

// behind says how far the clients are, for people.
func (f *fleet) behind() string {
	whole, example := 0, ""
	for _, c := range f.clients {
		text, complete := c.progress()
		if complete {
			whole++
		} else if example == "" {
			example = text
		}
	}
	return fmt.Sprintf("%d of %d have, %d attempts led to no stream, %d streams ended; one that has not: %s", whole, len(f.clients), f.refused.Load(), f.lost.Load(), example)
}

// end disconnects every client.
func (f *fleet) end() {
	if f.stop != nil {
		f.stop()
	}
	f.running.Wait()
}

// calm waits until nothing has come for a while.
func (f *fleet) calm(ctx context.Context) error {
	const quiet = 700 * time.Millisecond
	last, since := f.received.Load(), time.Now()
	for time.Since(since) < quiet {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		if now := f.received.Load(); now != last {
			last, since = now, time.Now()
		}
	}
	return nil
}

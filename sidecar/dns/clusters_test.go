package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	clusters "github.com/heddle-mesh/heddle/sidecar/upstream"
)

// wire is a server of names without a network, so that hours cost nothing. It counts what it is asked.
type wire struct {
	ttl uint32

	mu    sync.Mutex
	asked map[string]int // by type and name
}

// DialContext implements Dialer.
func (w *wire) DialContext(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		buf := make([]byte, maxDatagram)
		if n, err := theirs.Read(buf); err == nil {
			_, _ = theirs.Write(w.reply(buf[:n]))
		}
	}()
	return ours, nil
}

func (w *wire) reply(raw []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		panic(err)
	}
	q := m.Questions[0]
	w.mu.Lock()
	w.asked[strings.TrimPrefix(q.Type.String(), "Type")+" "+q.Name.String()]++
	w.mu.Unlock()
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true}, Questions: m.Questions}
	if q.Type == dnsmessage.TypeA {
		reply.Answers = []dnsmessage.Resource{a(q.Name.String(), w.ttl, "192.0.2.1")}
	} else {
		reply.Authorities = []dnsmessage.Resource{soa(w.ttl, w.ttl)}
	}
	out, err := reply.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

// TestIdleClustersAskAsLongAsAnswersLast: proxies in which nothing goes on look the names of their clusters up again when the answers are over, each name once for
// all clusters that have it and for the pod's own questions. That bounds what a server of names is asked: by proxies, names and the life of answers, not by how
// often anybody wants to know.
func TestIdleClustersAskAsLongAsAnswersLast(t *testing.T) {
	const names = 30
	_, _, _ = NewForwarder(nil, nil).Resolver().LookupLasting(t.Context(), "ip4", "once.test.") // net reads its settings into channels of nobody's bubble
	for name, c := range map[string]struct {
		proxies int
		family  byte // 0: both
		ttl     time.Duration
		lasts   time.Duration
		most    int // questions about a name's addresses of one family, from a proxy
		least   int
	}{
		"as long as an answer lasts":                     {50, '4', 20 * time.Second, 55 * time.Second, 3, 3},
		"every five seconds, where answers last shorter": {3, 0, time.Second, 61 * time.Second, 13, 10},
		"every five minutes, where answers last so long": {3, 0, 300 * time.Second, 599 * time.Second, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{ttl: uint32(c.ttl / time.Second), asked: map[string]int{}}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				for range c.proxies {
					f := NewForwarder([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}, w)
					unused(ctx, &running, f, names, c.family)
					running.Go(func() { curious(ctx, t, f, c.ttl) })
				}
				time.Sleep(c.lasts)
				cancel()
				running.Wait()
				want := 2 * names
				if c.family != 0 {
					want = names
				}
				if len(w.asked) != want {
					t.Errorf("asked about %d things, want %d", len(w.asked), want)
				}
				for what, n := range w.asked {
					if n > c.most*c.proxies || n < c.least*c.proxies {
						t.Errorf("%s: asked %d times by %d proxies in %v, want %d to %d by each", what, n, c.proxies, c.lasts, c.least, c.most)
					}
				}
			})
		})
	}
}

// unused runs the clusters of a proxy: some names are in two of them.
func unused(ctx context.Context, running *sync.WaitGroup, f *Forwarder, names int, family byte) {
	all := map[string]*clusters.Config{}
	for i := range names + names/5 {
		cfg := &clusters.Config{Info: exchange.ClusterInfo{Name: fmt.Sprint(i)}, Discovery: clusters.StrictDNS, DNSFamily: family, DNSLasts: true}
		cfg.Endpoints = []*exchange.Endpoint{{Host: host(i % names), Address: netip.AddrPortFrom(netip.Addr{}, 443), Weight: 1}}
		all[cfg.Info.Name] = cfg
	}
	registry := clusters.NewRegistry(clusters.Options{Resolver: f.Resolver()})
	registry.Apply(all, nil)
	running.Go(func() { _ = registry.Run(ctx) })
}

// curious asks, as the pod's applications do, about one name all the time, while its answer lasts.
func curious(ctx context.Context, t *testing.T, f *Forwarder, ttl time.Duration) {
	time.Sleep(time.Second / 2) // the clusters have asked
	for ; ctx.Err() == nil && ttl > time.Second; time.Sleep(time.Second) {
		q, err := parse(question(t, dnsmessage.TypeA, host(0), plainAsk))
		if err == nil && f.remembered(q, 0) == nil {
			_, err = f.forward(ctx, q)
		}
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
}

// plainAsk is EDNS's size as net.Resolver says it.
const plainAsk = 1232

func host(i int) string { return fmt.Sprintf("db-%d.example.com.", i) }

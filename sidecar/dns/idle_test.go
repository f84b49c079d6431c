package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	clusters "github.com/heddle-mesh/heddle/sidecar/upstream"
)

// TestIdleProxiesAskAsOftenAsAnswersLast has many proxies look the hosts of their clusters up far more often than the answers last, and
// counts what a real server is asked.
func TestIdleProxiesAskAsOftenAsAnswersLast(t *testing.T) {
	const proxies, entries, families = 50, 30, 2
	up := newUpstream(t, func(q dnsmessage.Question) dnsmessage.Message {
		if q.Type == dnsmessage.TypeAAAA {
			return dnsmessage.Message{Authorities: []dnsmessage.Resource{soa(60, 60)}}
		}
		return dnsmessage.Message{Answers: []dnsmessage.Resource{a(q.Name.String(), 60, "192.0.2.1")}}
	})
	clock := &lab{now: time.Unix(1_700_000_000, 0)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, proxies)
	t.Cleanup(func() {
		cancel()
		for range proxies {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	var all []*Forwarder
	var registries []*clusters.Registry
	for range proxies {
		f := NewForwarder([]netip.AddrPort{up.address}, &net.Dialer{})
		f.now = clock.clock
		r := clusters.NewRegistry(clusters.Options{Resolver: f.Resolver()})
		go func() { ended <- r.Run(ctx) }()
		all, registries = append(all, f), append(registries, r)
	}
	// look has every cluster of every proxy look its name up, proxy after proxy, and returns how often the server was asked meanwhile.
	look := func() int {
		before := up.total()
		for i, f := range all {
			from := f.Stats()
			registries[i].Apply(lookedUp(entries), nil)
			await(t, "answers", func() bool {
				now := f.Stats()
				return now.FromCache-from.FromCache+now.Forwarded-from.Forwarded >= entries*families && now.Cached == entries*families
			})
		}
		return up.total() - before
	}
	// A question that a slow machine answers late is asked once more.
	const once, twice = proxies * entries * families, 2 * proxies * entries * families
	if n := look(); n < once || n > twice {
		t.Errorf("at first the server was asked %d times, want %d", n, once)
	}
	if n := look(); n > once/10 {
		t.Errorf("within the TTL the server was asked %d times, want 0", n)
	}
	clock.pass(time.Minute)
	if n := look(); n < once*9/10 || n > twice {
		t.Errorf("after the TTL the server was asked %d times, want %d", n, once)
	}
}

// lookedUp describes two clusters of each host: two ports of an entry. Each description is another one, so that it is looked up anew.
func lookedUp(entries int) map[string]*clusters.Config {
	out := map[string]*clusters.Config{}
	for i := range entries {
		for _, port := range []uint16{80, 443} {
			c := &clusters.Config{Discovery: clusters.StrictDNS, DNSRefresh: time.Hour, Endpoints: []*exchange.Endpoint{
				{Host: fmt.Sprintf("entry%d.example.com.", i), Address: netip.AddrPortFrom(netip.Addr{}, port), Weight: 1}}}
			c.Info.Name = fmt.Sprintf("%d of %d", port, i)
			out[c.Info.Name] = c
		}
	}
	return out
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for until := time.Now().Add(2 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s did not come", what)
		}
	}
}

package upstream

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// lasting is a resolver whose answers last for a while.
type lasting struct {
	names
	lasts time.Duration
	asked atomic.Int64
}

func (l *lasting) LookupLasting(ctx context.Context, network, host string) ([]netip.Addr, time.Duration, error) {
	l.asked.Add(1)
	addrs, err := l.LookupNetIP(ctx, network, host)
	return addrs, l.lasts, err
}

// TestAnswersThatLast: names of clusters are looked up again when the answer is over, but not before the least time, where the cluster says so, else as often
// as it says; however many proxies there are, and whether or not they are used.
func TestAnswersThatLast(t *testing.T) {
	for name, c := range map[string]struct {
		lasts, refresh time.Duration
		ignored        bool
		want           int64 // look-ups of each name in two minutes, two of them at the start
	}{
		"shorter than the cluster says": {20 * time.Second, 0, false, 8}, "very short": {time.Second, 0, false, 26}, "long": {time.Hour, 0, false, 2},
		"nobody said": {0, 0, false, 4}, "longer than the cluster says": {20 * time.Second, 10 * time.Second, false, 8},
		"shorter, ignored": {20 * time.Second, 0, true, 4}, "longer, ignored": {20 * time.Second, 10 * time.Second, true, 14},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const proxies, entries = 2, 30
				r := &lasting{lasts: c.lasts}
				r.set("a", "10.0.0.1")
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, proxies)
				for range proxies {
					clusters := map[string]*Config{}
					for i := range entries {
						name := fmt.Sprint(i)
						clusters[name] = &Config{Info: exchange.ClusterInfo{Name: name}, Discovery: StrictDNS, DNSRefresh: c.refresh, DNSLasts: !c.ignored,
							Endpoints: []*exchange.Endpoint{{Host: "a", Address: netip.AddrPortFrom(netip.Addr{}, 80), Weight: 1}}}
					}
					registry := NewRegistry(Options{Resolver: r})
					registry.Apply(clusters, nil)
					go func() { done <- registry.Run(ctx) }()
				}
				time.Sleep(2*time.Minute + time.Second)
				synctest.Wait()
				if got := r.asked.Load(); got != c.want*proxies*entries {
					t.Errorf("asked %d times, want %d", got, c.want*proxies*entries)
				}
				cancel()
				for range proxies {
					<-done
				}
			})
		})
	}
}

package upstream

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// secured is a Handshaker that nothing gets to use.
type secured struct{}

func (secured) Handshake(context.Context, net.Conn, *exchange.Endpoint, string, exchange.Protocol) (net.Conn, *exchange.Security, error) {
	panic("not to be called")
}

// TestLastResort holds when a service's own address is dialled: all known endpoints are away, and none of them is secured.
func TestLastResort(t *testing.T) {
	const own = "10.96.0.1:80"
	mesh := []Socket{{Match: map[string]string{"tlsMode": "istio"}, TLS: secured{}}, {}}
	meshed := func(e *exchange.Endpoint) { e.TLSMode = "istio" }
	for name, c := range map[string]struct {
		cfg  Config
		eps  []*exchange.Endpoint
		away int // how many of eps, from the first on
		want bool
	}{
		"all away":              {Config{Sockets: mesh}, []*exchange.Endpoint{endpoint(a), endpoint(b)}, 2, true},
		"one still there":       {Config{Sockets: mesh}, []*exchange.Endpoint{endpoint(a), endpoint(b)}, 1, false},
		"none away":             {Config{}, []*exchange.Endpoint{endpoint(a)}, 0, false},
		"an endpoint secured":   {Config{Sockets: mesh}, []*exchange.Endpoint{endpoint(a, meshed), endpoint(b)}, 2, false},
		"everything secured":    {Config{Sockets: []Socket{{TLS: secured{}}}}, []*exchange.Endpoint{endpoint(a)}, 1, false},
		"no address of its own": {Config{}, []*exchange.Endpoint{endpoint(a)}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "no address of its own" {
				c.cfg.LastResort = netip.MustParseAddrPort(own)
			}
			cluster := live(c.cfg, c.eps...)
			for i, h := range cluster.Hosts() {
				if i < c.away {
					h.noted(net.ErrClosed)
				}
			}
			got := 0
			for range 100 {
				h, o := cluster.Pick(netip.AddrPort{}, nil, 5)
				if o != exchange.OK {
					t.Fatal(o)
				}
				if h.Endpoint().Address.String() == own {
					got++
				}
			}
			if c.want && got != 100 || !c.want && got != 0 {
				t.Errorf("the service's own address was chosen %d times of 100", got)
			}
		})
	}
}

// TestLastResortEnds holds that an endpoint is tried again after a while, at once where it was reached, and that the last resort is not tried twice.
func TestLastResortEnds(t *testing.T) {
	cluster := live(Config{LastResort: netip.MustParseAddrPort("10.96.0.1:80")}, endpoint(a))
	host := cluster.Hosts()[0]
	pick := func(tried ...*Host) *Host {
		h, _ := cluster.Pick(netip.AddrPort{}, tried, 5)
		return h
	}
	host.noted(net.ErrClosed)
	last := pick()
	if last == host {
		t.Fatal("no last resort")
	}
	if pick(last) != host {
		t.Error("the last resort is tried twice for one request")
	}
	host.noted(nil)
	if pick() != host {
		t.Error("an endpoint that was reached is passed over")
	}
	host.failed.Store(time.Now().Add(-2 * suspicion).UnixNano())
	if pick() != host {
		t.Error("an endpoint that failed long ago is passed over")
	}
	host.noted(context.Canceled)
	if pick() != host {
		t.Error("a client that gave up counts against the endpoint")
	}
}

// TestLastResortOfOthers holds that connections to the service's own address do not outlive the endpoints that they went round: they lead to one of
// the new endpoints, and would fail together with it.
func TestLastResortOfOthers(t *testing.T) {
	cluster := live(Config{LastResort: netip.MustParseAddrPort("10.96.0.1:80")}, endpoint(a))
	know := func(ep *exchange.Endpoint) {
		cluster.mu.Lock()
		defer cluster.mu.Unlock()
		cluster.eps = []*exchange.Endpoint{ep}
		cluster.rebuild(cluster.config())
	}
	resort := func() *Host {
		for _, h := range cluster.Hosts() {
			h.noted(net.ErrClosed)
		}
		h, _ := cluster.Pick(netip.AddrPort{}, nil, 5)
		return h
	}
	first := resort()
	know(endpoint(a))
	if resort() != first || first.gone.Load() {
		t.Error("an update without news ends the connections")
	}
	know(endpoint(b))
	if resort() == first || !first.gone.Load() {
		t.Error("the connections outlive the endpoints")
	}
}

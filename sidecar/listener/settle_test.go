package listener

import (
	"net/netip"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// asked is a control plane that tests answer for.
type asked struct {
	addresses chan netip.AddrPort
	full      bool
}

func (a *asked) Host(string, string) bool { return !a.full }

func (a *asked) Address(at netip.AddrPort) bool {
	select {
	case a.addresses <- at:
	default:
	}
	return !a.full
}

// TestConnectionsWaitForTheirListeners holds connections to addresses of which the control plane has not spoken: they go on when it has, and never
// where unknown destinations go before.
func TestConnectionsWaitForTheirListeners(t *testing.T) {
	virtual := bound("virtual")
	virtual.UseOriginalDst = true
	exact, other := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("192.0.2.1:443")
	known := &config.Listener{Name: "exact", NoBind: true, Binds: []netip.AddrPort{exact}, Via: &exchange.Via{}}
	b := start(t, Servers{}, virtual)
	control := &asked{addresses: make(chan netip.AddrPort, 1)}
	b.m.opts.Demands, b.m.opts.Hold = control, time.Minute
	put := func(settled map[netip.AddrPort]bool, ls ...*config.Listener) {
		b.store.Swap(&config.Config{Listeners: append(ls, virtual), Settled: settled})
	}
	hand := func(dst netip.AddrPort) chan string {
		out := make(chan string, 1)
		go func() {
			s := &session{facts: &exchange.Connection{Destination: dst, Via: virtual.Via}, listener: "virtual"}
			if l := b.m.hand(s, virtual); l != nil {
				out <- l.Name
			} else {
				out <- "refused"
			}
		}()
		return out
	}
	put(map[netip.AddrPort]bool{})
	for dst, want := range map[netip.AddrPort]string{exact: "exact", other: "virtual"} {
		got := hand(dst)
		if at := <-control.addresses; at != dst {
			t.Errorf("asked for %s, want %s", at, dst)
		}
		put(map[netip.AddrPort]bool{netip.MustParseAddrPort("10.0.0.7:7"): true})
		if at := <-control.addresses; at != dst {
			t.Errorf("after another answer asked for %s, want %s", at, dst)
		}
		put(map[netip.AddrPort]bool{dst: true}, known)
		if name := <-got; name != want {
			t.Errorf("%s goes to %s, want %s", dst, name, want)
		}
		put(map[netip.AddrPort]bool{})
	}
	control.full = true
	if name := <-hand(other); name != "refused" {
		t.Errorf("where too many ask it goes to %s", name)
	}
	control.full, b.m.opts.Hold = false, time.Millisecond
	if name := <-hand(other); name != "refused" {
		t.Errorf("without an answer it goes to %s", name)
	}
	put(nil)
	if name := <-hand(other); name != "virtual" {
		t.Errorf("where listeners are not on demand it goes to %s", name)
	}
}

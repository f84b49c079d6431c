package plane

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
)

// servicePort is the port of services that sidecars are asked for, and anyAddress the listener for it.
const (
	servicePort = 80
	anyAddress  = "0.0.0.0_80"
)

// places is a Registry whose sidecars' listeners bind where they are told to.
type places struct {
	discovery.Registry
	mu sync.Mutex
	at map[string]Place // by pod
}

// Place is where a sidecar's one listener binds, since nothing captures connections for it here.
type Place struct {
	Address netip.AddrPort
	Inbound bool // the listener for what the sidecar receives; else the one for services at their port
}

func (p *places) put(pod string, at Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[pod] = at
}

// Subscribe implements discovery.Registry.
func (p *places) Subscribe(ctx context.Context, caller discovery.Caller, node discovery.Node) (discovery.Subscription, error) {
	s, err := p.Registry.Subscribe(ctx, caller, node)
	p.mu.Lock()
	at, known := p.at[caller.Pod]
	p.mu.Unlock()
	if err != nil || !known {
		return s, err
	}
	return placed{s, at}, nil
}

type placed struct {
	discovery.Subscription
	at Place
}

// View implements discovery.Subscription.
func (p placed) View() discovery.View { return placedView{p.Subscription.View(), p.at} }

type placedView struct {
	discovery.View
	at Place
}

// All implements discovery.View.
func (v placedView) All(typ string) []*wire.Resource {
	all := v.View.All(typ)
	if typ != wire.TypeListener {
		return all
	}
	var out []*wire.Resource
	if r := v.View.Get(context.Background(), typ, anyAddress); r != nil && !slices.ContainsFunc(all, func(o *wire.Resource) bool { return o.Name == r.Name }) {
		all = append(slices.Clone(all), r) // proxies on demand learn of it by what is captured
	}
	for _, r := range all {
		if r := v.move(r); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// Get implements discovery.View.
func (v placedView) Get(ctx context.Context, typ, name string) *wire.Resource {
	r := v.View.Get(ctx, typ, name)
	if typ != wire.TypeListener || r == nil {
		return r
	}
	return v.move(r)
}

// move makes a listener bind; nil: it is not to be there.
func (v placedView) move(r *wire.Resource) *wire.Resource {
	l := &listener.Listener{}
	if err := proto.Unmarshal(r.Body, l); err != nil {
		panic(fmt.Errorf("a listener of our own: %w", err)) // it was marshalled a moment ago
	}
	inbound := l.Name == wire.ListenerVirtualInbound
	if inbound != v.at.Inbound || !inbound && l.GetAddress().GetSocketAddress().GetPortValue() != servicePort {
		return nil
	}
	l.Address, l.AdditionalAddresses, l.BindToPort = message.TCPAddress(v.at.Address.Addr().String(), v.at.Address.Port()), nil, nil
	return message.Resource(r.Type, r.Name, l)
}

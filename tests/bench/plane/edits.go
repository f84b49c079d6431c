package plane

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	ratelimit "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	types "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
)

// servicePort is the port of services that sidecars are asked for, and anyAddress the listener for it.
const (
	servicePort = 80
	anyAddress  = "0.0.0.0_80"
)

// edits is a Registry some of whose pods' listeners are changed on their way.
type edits struct {
	discovery.Registry
	mu sync.Mutex
	of map[string][]edit // by pod
}

// edit changes a listener; nil: it is not to be there.
type edit func(l *listener.Listener) *listener.Listener

func (e *edits) put(pod string, one edit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.of[pod] = append(e.of[pod], one)
}

// Subscribe implements discovery.Registry.
func (e *edits) Subscribe(ctx context.Context, caller discovery.Caller, node discovery.Node) (discovery.Subscription, error) {
	s, err := e.Registry.Subscribe(ctx, caller, node)
	e.mu.Lock()
	all := e.of[caller.Pod]
	e.mu.Unlock()
	if err != nil || len(all) == 0 {
		return s, err
	}
	return edited{s, all}, nil
}

type edited struct {
	discovery.Subscription
	edits []edit
}

// View implements discovery.Subscription.
func (e edited) View() discovery.View { return editedView{e.Subscription.View(), e.edits} }

type editedView struct {
	discovery.View
	edits []edit
}

// All implements discovery.View.
func (v editedView) All(typ string) []*wire.Resource {
	all := v.View.All(typ)
	if typ != wire.TypeListener {
		return all
	}
	var out []*wire.Resource
	if r := v.View.Get(context.Background(), typ, anyAddress); r != nil && !slices.ContainsFunc(all, func(o *wire.Resource) bool { return o.Name == r.Name }) {
		all = append(slices.Clone(all), r) // proxies on demand learn of it by what is captured
	}
	for _, r := range all {
		if r := v.edit(r); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// Get implements discovery.View.
func (v editedView) Get(ctx context.Context, typ, name string) *wire.Resource {
	r := v.View.Get(ctx, typ, name)
	if typ != wire.TypeListener || r == nil {
		return r
	}
	return v.edit(r)
}

// edit changes a listener; nil: it is not to be there.
func (v editedView) edit(r *wire.Resource) *wire.Resource {
	l := &listener.Listener{}
	if err := proto.Unmarshal(r.Body, l); err != nil {
		panic(fmt.Errorf("a listener of our own: %w", err)) // it was marshalled a moment ago
	}
	for _, change := range v.edits {
		if l = change(l); l == nil {
			return nil
		}
	}
	return message.Resource(r.Type, r.Name, l)
}

// Place is where a sidecar's one listener binds, since nothing captures connections for it here.
type Place struct {
	Address netip.AddrPort
	Inbound bool // the listener for what the sidecar receives; else the one for services at their port
}

// move makes a listener bind.
func (p Place) move(l *listener.Listener) *listener.Listener {
	inbound := l.Name == wire.ListenerVirtualInbound
	if inbound != p.Inbound || !inbound && l.GetAddress().GetSocketAddress().GetPortValue() != servicePort {
		return nil
	}
	l.Address, l.AdditionalAddresses, l.BindToPort = message.TCPAddress(p.Address.Addr().String(), p.Address.Port()), nil, nil
	return l
}

// plenty of tokens that nobody uses up, so that only counting them costs.
var plenty = &ratelimit.LocalRateLimit{StatPrefix: "bench", TokenBucket: &types.TokenBucket{MaxTokens: 1 << 30, TokensPerFill: wrapperspb.UInt32(1 << 30), FillInterval: durationpb.New(time.Second)},
	FilterEnabled: always, FilterEnforced: always}

var always = &core.RuntimeFractionalPercent{DefaultValue: &types.FractionalPercent{Numerator: 100}}

// limited has each chain of HTTP count requests.
func limited(l *listener.Listener) *listener.Listener {
	for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
		for _, f := range chain.GetFilters() {
			m := &hcm.HttpConnectionManager{}
			if f.GetTypedConfig().UnmarshalTo(m) != nil {
				continue // of TCP
			}
			m.HttpFilters = append([]*hcm.HttpFilter{message.HTTPFilter("envoy.filters.http.local_ratelimit", plenty)}, m.HttpFilters...)
			f.ConfigType = message.NetworkFilter(f.Name, m).ConfigType
		}
	}
	return l
}

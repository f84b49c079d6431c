package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/compile/reports"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// Self is what the control plane says of this proxy's own workload.
type Self struct {
	Workload exchange.Workload
	Identity string // SPIFFE URI; empty where unknown
}

// madeChain is a filter chain and what it was made of.
type madeChain struct {
	chain   *config.FilterChain
	needs   *needs
	logs    []*exchange.AccessLog
	tracing *exchange.Tracing
	// namePort is where names in ClientHellos are connected to; 0: clusters say it.
	namePort uint16
}

// listener makes a listener. Chains that did not change are taken from before.
func (b *builder) listener(in *listenerv3.Listener, before map[string]*madeChain) (*config.Listener, map[string]*madeChain, error) {
	out := &config.Listener{Name: in.GetName(), NoBind: !values.Boolean(in.GetBindToPort(), true), UseOriginalDst: in.GetUseOriginalDst().GetValue()}
	for _, read := range []func(*listenerv3.Listener, *config.Listener) error{binds, inspection} {
		if err := read(in, out); err != nil {
			return nil, nil, err
		}
	}
	out.Capture = out.RestoreDst && !out.NoBind
	chains := map[string]*madeChain{}
	b.domains = domainsOf(in)
	via := &exchange.Via{Listener: in.GetName(), Gateway: b.options.Gateway, Direction: exchange.Outbound}
	if in.GetTrafficDirection() == core.TrafficDirection_INBOUND {
		via.Direction = exchange.Inbound
	}
	for i, c := range in.GetFilterChains() {
		made, err := b.reuse(c, before, chains)
		if err != nil {
			return nil, nil, values.Under(fmt.Sprintf("filter_chains[%d]", i), err)
		}
		out.Chains = append(out.Chains, made.chain)
		made.tell(via)
	}
	if in.GetDefaultFilterChain() != nil {
		made, err := b.reuse(in.GetDefaultFilterChain(), before, chains)
		if err != nil {
			return nil, nil, values.Under("default_filter_chain", err)
		}
		out.Default = made.chain
		made.tell(via)
	}
	if out.Default == nil && len(out.Chains) == 0 {
		return nil, nil, values.Wrong("filter_chains", "a listener needs one")
	}
	logs, err := reports.AccessLogs("access_log", in.GetAccessLog(), b.ignored)
	if err != nil {
		return nil, nil, err
	}
	(&madeChain{logs: logs}).tell(via)
	if via.Metrics, err = telemetry.ReadMetrics(values.Texts(in.GetMetadata().GetFilterMetadata()[wire.ListenerMetrics])); err != nil {
		return nil, nil, values.Wrong("metadata.filter_metadata["+wire.ListenerMetrics+"]", "%w", err)
	}
	if via.Reporting, err = telemetry.ReadReporting(values.Texts(in.GetMetadata().GetFilterMetadata()[wire.ListenerReporting])); err != nil {
		return nil, nil, values.Wrong("metadata.filter_metadata["+wire.ListenerReporting+"]", "%w", err)
	}
	out.Via = via
	return out, chains, nil
}

// tell adds to via what the chain says of logging and tracing. Chains of one listener agree on it; the first one counts.
func (m *madeChain) tell(via *exchange.Via) {
	if via.AccessLog == nil {
		via.AccessLog = m.logs
	}
	via.Tracing = cmp.Or(via.Tracing, m.tracing)
}

// reuse takes a chain from before where its bytes are the same, and makes it otherwise.
func (b *builder) reuse(in *listenerv3.FilterChain, before, now map[string]*madeChain) (*madeChain, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(in)
	if err != nil {
		return nil, values.Wrong("name", "%w", err)
	}
	key := string(raw) + strings.Join(b.domains, ",")
	made := before[key]
	if made == nil {
		inner := *b
		inner.needs = newNeeds()
		if made, err = inner.chain(in); err != nil {
			return nil, err
		}
		made.needs = inner.needs
	}
	now[key] = made
	b.needs.add(made.needs)
	return made, nil
}

func binds(in *listenerv3.Listener, out *config.Listener) error {
	first, err := values.Address("address", in.GetAddress())
	if err != nil {
		return err
	}
	out.Binds = []netip.AddrPort{first}
	for i, a := range in.GetAdditionalAddresses() {
		bind, err := values.Address(fmt.Sprintf("additional_addresses[%d].address", i), a.GetAddress())
		if err != nil {
			return err
		}
		out.Binds = append(out.Binds, bind)
	}
	return nil
}

const (
	tlsInspector  = "envoy.filters.listener.tls_inspector"
	httpInspector = "envoy.filters.listener.http_inspector"
)

// inspection reads listener filters.
func inspection(in *listenerv3.Listener, out *config.Listener) error {
	out.RestoreDst = out.UseOriginalDst
	for i, f := range in.GetListenerFilters() {
		field := fmt.Sprintf("listener_filters[%d]", i)
		off, err := ports(field+".filter_disabled", f.GetFilterDisabled())
		if err != nil {
			return err
		}
		name := f.GetName()
		if off != nil && name != tlsInspector && name != httpInspector {
			return values.Wrong(field+".filter_disabled", "only inspectors can be disabled")
		}
		switch name {
		case "envoy.filters.listener.proxy_protocol":
			if err := proxied(field, f, out); err != nil {
				return err
			}
		case "envoy.filters.listener.original_dst":
			out.RestoreDst = true
		case tlsInspector:
			out.Inspect.TLS, out.Inspect.TLSOff = true, off
		case httpInspector:
			out.Inspect.HTTP, out.Inspect.HTTPOff = true, off
		default:
			return values.Wrong(field, "%q is not implemented", name)
		}
	}
	out.Inspect.Timeout = values.Duration(in.GetListenerFiltersTimeout(), 15*time.Second)
	out.Inspect.ContinueOnTime = in.GetContinueOnListenerFiltersTimeout()
	return nil
}

// ports reads which destination ports a condition holds for; nil: there is no condition, or it holds for none.
func ports(field string, in *listenerv3.ListenerFilterChainMatchPredicate) (config.Ports, error) {
	if in == nil {
		return nil, nil
	}
	switch r := in.GetRule().(type) {
	case *listenerv3.ListenerFilterChainMatchPredicate_AnyMatch:
		return config.Ports(nil).Others(), nil
	case *listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange:
		from, to := r.DestinationPortRange.GetStart(), r.DestinationPortRange.GetEnd()
		if from < 0 || to < from {
			return nil, values.Wrong(field+".destination_port_range", "%d to %d is no range of ports", from, to)
		}
		return config.Ports{{From: uint32(from), To: uint32(to)}}, nil
	case *listenerv3.ListenerFilterChainMatchPredicate_NotMatch:
		not, err := ports(field+".not_match", r.NotMatch)
		return not.Others(), err
	case *listenerv3.ListenerFilterChainMatchPredicate_OrMatch:
		var all config.Ports
		for i, rule := range r.OrMatch.GetRules() {
			some, err := ports(fmt.Sprintf("%s.or_match.rules[%d]", field, i), rule)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
		return all, nil
	case *listenerv3.ListenerFilterChainMatchPredicate_AndMatch:
		var without config.Ports
		for i, rule := range r.AndMatch.GetRules() {
			some, err := ports(fmt.Sprintf("%s.and_match.rules[%d]", field, i), rule)
			if err != nil {
				return nil, err
			}
			without = append(without, some.Others()...)
		}
		return without.Others(), nil
	}
	return nil, values.Wrong(field, "it says nothing of ports")
}

// proxied reads that connections begin with the PROXY protocol's header. What looks at first bytes comes after it.
func proxied(field string, f *listenerv3.ListenerFilter, out *config.Listener) error {
	if out.Inspect.TLS || out.Inspect.HTTP || out.UseOriginalDst {
		return values.Wrong(field, "it must come before inspectors, and not with use_original_dst")
	}
	m, err := values.Open(field+".typed_config", f.GetTypedConfig(), &proxyprotocol.ProxyProtocol{})
	if err != nil {
		return err
	}
	if out.Proxied = config.Proxies; m.GetAllowRequestsWithoutProxyProtocol() {
		out.Proxied = config.MayBeProxied
	}
	return nil
}

// selfOf reads a listener's facts of the workload itself; nil where it has none.
func selfOf(in *listenerv3.Listener) *Self {
	facts := values.Texts(in.GetMetadata().GetFilterMetadata()[wire.ListenerMetadata])
	if len(facts) == 0 {
		return nil
	}
	s := &Self{Identity: facts[wire.FactIdentity], Workload: exchange.Workload{
		Name: facts[wire.FactWorkload], Namespace: facts[wire.FactNamespace], App: facts[wire.FactApp], Version: facts[wire.FactVersion],
		CanonicalName: facts[wire.FactCanonicalName], CanonicalRevision: facts[wire.FactCanonicalRevision], Cluster: facts[wire.FactCluster],
	}}
	if id, err := spiffe.Parse(s.Identity); err == nil {
		s.Workload.ServiceAccount = id.ServiceAccount
	}
	return s
}

// domainsOf reads the mesh's trust domains; nil where the workload's own certificate says the only one.
func domainsOf(in *listenerv3.Listener) []string {
	text := values.Texts(in.GetMetadata().GetFilterMetadata()[wire.ListenerMetadata])[wire.SelfTrustDomains]
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

// keep returns before where it says the same as via, so that what is keyed by the pointer stays.
func keep(before *config.Listener, via *exchange.Via) *exchange.Via {
	if before != nil && reflect.DeepEqual(before.Via, via) {
		return before.Via
	}
	return via
}

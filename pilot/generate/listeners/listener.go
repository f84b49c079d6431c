package listeners

import (
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspector "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldst "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsinspector "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/observe"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Self is how a workload names itself in telemetry. The pod is left out, so that replicas share what they are told.
type Self struct {
	Facts    model.Facts
	Identity spiffe.Identity
}

const (
	transportRaw = "raw_buffer"
	transportTLS = "tls"
)

// plainHTTP are the protocols that sniffing a plaintext connection finds.
func plainHTTP() []string { return []string{"http/1.0", "http/1.1", "h2c"} }

func listenerFilter(name string, config proto.Message) *listener.ListenerFilter {
	return &listener.ListenerFilter{Name: name, ConfigType: &listener.ListenerFilter_TypedConfig{TypedConfig: message.Any(config)}}
}

func inspectTLS() *listener.ListenerFilter {
	return listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspector.TlsInspector{})
}

func inspectHTTP() *listener.ListenerFilter {
	return listenerFilter("envoy.filters.listener.http_inspector", &httpinspector.HttpInspector{})
}

// introduction reads the PROXY protocol's header; it stands before what looks at first bytes.
func introduction() *listener.ListenerFilter {
	return listenerFilter("envoy.filters.listener.proxy_protocol", &proxyprotocol.ProxyProtocol{})
}

func originalDestination() *listener.ListenerFilter {
	return listenerFilter("envoy.filters.listener.original_dst", &originaldst.OriginalDst{})
}

// bindTo sets the listener's addresses; an empty address is the wildcard of each family.
func bindTo(l *listener.Listener, class naming.Class, address string, port uint16) {
	if address != "" {
		l.Address = message.TCPAddress(address, port)
		return
	}
	all := class.Wildcards()
	l.Address = message.TCPAddress(all[0], port)
	for _, a := range all[1:] {
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listener.AdditionalAddress{Address: message.TCPAddress(a, port)})
	}
}

// bindAlso adds an address to a listener, unless it is "".
func bindAlso(l *listener.Listener, address string, port uint16) {
	if address != "" {
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listener.AdditionalAddress{Address: message.TCPAddress(address, port)})
	}
}

// metadata names the proxy's own workload (nil: a listener that proxies share), as pilot names it to others, and says what is not counted. A
// stock Envoy counts in a way of its own.
func metadata(class naming.Class, mesh *model.Mesh, self *Self, reports observe.Side) *core.Metadata {
	out := map[string]*structpb.Struct{}
	if self != nil {
		facts := upstream.Facts(self.Identity.String(), self.Facts)
		if len(mesh.TrustDomainAliases) > 0 && !class.Foreign {
			all := append([]string{mesh.TrustDomain}, mesh.TrustDomainAliases...)
			facts.Fields[wire.SelfTrustDomains] = structpb.NewStringValue(strings.Join(all, ","))
		}
		out[wire.ListenerMetadata] = facts
	}
	if len(reports.Metrics) > 0 && !class.Foreign {
		out[wire.ListenerMetrics] = message.Struct(reports.Metrics)
	}
	if reports.Reporting != 0 && !class.Foreign {
		out[wire.ListenerReporting] = message.Struct(map[string]string{wire.ReportingInterval: reports.Reporting.String()})
	}
	if len(out) == 0 {
		return nil
	}
	return &core.Metadata{FilterMetadata: out}
}

// portMatch matches the original destination's port.
func portMatch(port uint16) *listener.FilterChainMatch {
	return &listener.FilterChainMatch{DestinationPort: wrapperspb.UInt32(uint32(port))}
}

func chain(name string, match *listener.FilterChainMatch, socket *core.TransportSocket, filters ...*listener.Filter) *listener.FilterChain {
	return &listener.FilterChain{Name: name, FilterChainMatch: match, TransportSocket: socket, Filters: filters}
}

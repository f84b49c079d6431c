package generate

import (
	"net"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/authz"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// proxyless makes what programs with gRPC's xDS client ask for (gRFC A27): for each port of a service that EDS tells the endpoints of, a
// listener by the name that they dial, host:port, and its routes.
func (b *builder) proxyless() {
	for _, s := range b.services {
		if s.Resolution == model.ResolveAlias {
			continue
		}
		for i := range s.Ports {
			p := &s.Ports[i]
			speaks := p.Protocol.IsHTTP() || p.Protocol == model.Unknown
			if !speaks || !s.has(p.Number) || !(upstream.Cluster{Service: s.Service, Port: p.Number, Class: b.scope.Class}).Proxyless() {
				continue
			}
			name := naming.HostRoute(s.Host, p.Number)
			hosts := b.m.vhosts.Of([]*routes.VirtualHost{b.alone(s.Service, p.Number)})
			b.set.add(b.m.routes.Get(routes.Configuration{Name: name, Hosts: hosts}, routes.Make))
			b.set.add(b.m.called.Get(name, clientListener))
		}
	}
}

// clientListener leads who dials a name to the routes of that name.
func clientListener(name string) *wire.Resource {
	manager := &hcm.HttpConnectionManager{
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{ConfigSource: message.ADS(), RouteConfigName: name}},
		HttpFilters:    []*hcm.HttpFilter{message.HTTPFilter(message.FilterFault, &faultfilter.HTTPFault{}), message.HTTPFilter(httpRouter, &router.Router{})},
	}
	return message.Resource(wire.TypeListener, name, &listener.Listener{Name: name, ApiListener: &listener.ApiListener{ApiListener: message.Any(manager)}})
}

// serverListeners are what a program with gRPC's xDS server asks for (gRFC A36), for each port of the workload and each address that it may listen on.
func (in Inbound) serverListeners(set *Set) {
	for p := range in.Ports.All {
		if !p.Protocol.IsHTTP() && p.Protocol != model.Unknown {
			continue
		}
		for address := range in.Addresses.All {
			set.add(in.serverListener(p, address))
		}
	}
}

func (in Inbound) serverListener(p inboundPort, address string) *wire.Resource {
	manager := &hcm.HttpConnectionManager{RouteSpecifier: &hcm.HttpConnectionManager_RouteConfig{RouteConfig: &route.RouteConfiguration{
		Name: naming.Inbound(p.Port), VirtualHosts: []*route.VirtualHost{{Name: "inbound", Domains: []string{"*"}, Routes: []*route.Route{{
			Match: message.AnyPath(), Action: &route.Route_NonForwardingAction{NonForwardingAction: &route.NonForwardingAction{}},
		}}}},
	}}}
	g := authz.Guard{Mesh: in.Mesh, Policies: in.Policies.Slice()}
	for i, f := range append(g.HTTP(), message.HTTPFilter(httpRouter, &router.Router{})) {
		f.Name += "." + strconv.Itoa(i) // names must differ
		manager.HttpFilters = append(manager.HttpFilters, f)
	}
	name := naming.ServerListener(net.JoinHostPort(address, naming.Port(p.Port)))
	return message.Resource(wire.TypeListener, name, &listener.Listener{
		Name: name, TrafficDirection: core.TrafficDirection_INBOUND, Address: message.TCPAddress(address, p.Port),
		FilterChains: []*listener.FilterChain{chain("inbound", nil, in.serverSocket(p.Mode), message.NetworkFilter(filterHCM, manager))},
	})
}

// serverSocket terminates mesh mTLS. A gRPC server cannot take both that and plaintext: where both are permitted, it takes what the endpoint's label
// tells clients.
func (in Inbound) serverSocket(mode model.MTLSMode) *core.TransportSocket {
	if mode == model.MTLSDisable || mode != model.MTLSStrict && !in.MeshTLS {
		return nil
	}
	return transport.Downstream(&tls.DownstreamTlsContext{RequireClientCertificate: message.True(), CommonTlsContext: transport.Provided(nil)})
}

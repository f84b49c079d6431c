package listeners

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
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Called is a name that a program with gRPC's xDS client dials, host:port, and the routes that it leads to.
type Called struct{ Name, Routes string }

// MakeClient leads who dials a name to its routes.
func MakeClient(in Called) *wire.Resource {
	manager := &hcm.HttpConnectionManager{
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{ConfigSource: message.ADS(), RouteConfigName: in.Routes}},
		HttpFilters:    []*hcm.HttpFilter{message.HTTPFilter(message.FilterFault, &faultfilter.HTTPFault{}), message.HTTPFilter(httpRouter, &router.Router{})},
	}
	return message.Resource(wire.TypeListener, in.Name, &listener.Listener{Name: in.Name, ApiListener: &listener.ApiListener{ApiListener: message.Any(manager)}})
}

// serverListeners are what a program with gRPC's xDS server asks for (gRFC A36), for each port of the workload and each address that it may listen on.
func (in Inbound) serverListeners() []*wire.Resource {
	var out []*wire.Resource
	for p := range in.Ports.All {
		if !p.Protocol.IsHTTP() && p.Protocol != model.Unknown {
			continue
		}
		for address := range in.Addresses.All {
			out = append(out, in.serverListener(p, address))
		}
	}
	return out
}

func (in Inbound) serverListener(p Port, address string) *wire.Resource {
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

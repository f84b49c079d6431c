package upstream

import (
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbuffer "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const proxySocket = "envoy.transport_sockets.upstream_proxy_protocol"

// tellClient has every connection of the cluster begin with a PROXY header, before it is secured.
func tellClient(c *cluster.Cluster, v model.ProxyProtocol) {
	if v == model.NoProxyProtocol {
		return
	}
	version := core.ProxyProtocolConfig_V1
	if v == model.ProxyProtocolV2 {
		version = core.ProxyProtocolConfig_V2
	}
	wrap := func(inner *core.TransportSocket) *core.TransportSocket {
		return &core.TransportSocket{Name: proxySocket, ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: message.Any(
			&proxyprotocol.ProxyProtocolUpstreamTransport{Config: &core.ProxyProtocolConfig{Version: version}, TransportSocket: inner})}}
	}
	for _, m := range c.TransportSocketMatches {
		m.TransportSocket = wrap(m.TransportSocket)
	}
	switch {
	case c.TransportSocket != nil:
		c.TransportSocket = wrap(c.TransportSocket)
	case len(c.TransportSocketMatches) == 0:
		c.TransportSocket = wrap(rawTransport())
	}
}

func rawTransport() *core.TransportSocket {
	return &core.TransportSocket{Name: rawSocket, ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: message.Any(&rawbuffer.RawBuffer{})}}
}

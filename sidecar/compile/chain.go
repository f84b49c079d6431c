package compile

import (
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxy "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/permissions"
	"github.com/heddle-mesh/heddle/sidecar/compile/reports"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// chain makes a filter chain: network filters that judge, then one that serves.
func (b *builder) chain(in *listenerv3.FilterChain) (*madeChain, error) {
	made := &madeChain{chain: &config.FilterChain{Name: in.GetName(), Origin: origin(in.GetMetadata())}}
	var err error
	if made.chain.Match, err = chainMatch(in.GetFilterChainMatch()); err != nil {
		return nil, values.Under("filter_chain_match", err)
	}
	if in.GetTransportSocket() != nil {
		if made.chain.TLS, err = b.serverSocket(in.GetTransportSocket()); err != nil {
			return nil, values.Under("transport_socket", err)
		}
	}
	if made.chain.Handshake = in.GetTransportSocketConnectTimeout().AsDuration(); made.chain.Handshake < 0 {
		return nil, values.Wrong("transport_socket_connect_timeout", "%s is less than nothing", made.chain.Handshake)
	}
	for i, f := range in.GetFilters() {
		field := fmt.Sprintf("filters[%d].typed_config", i)
		if made.chain.HTTP != nil || made.chain.TCP != nil {
			return nil, values.Wrong(field, "nothing may follow a filter that serves")
		}
		if err := b.network(f, made); err != nil {
			return nil, values.Under(field, err)
		}
	}
	if made.chain.HTTP == nil && made.chain.TCP == nil {
		return nil, values.Wrong("filters", "none of them serves connections")
	}
	return made, nil
}

func chainMatch(in *listenerv3.FilterChainMatch) (config.Match, error) {
	out := config.Match{ServerNames: in.GetServerNames(), Transport: in.GetTransportProtocol(), ALPN: in.GetApplicationProtocols()}
	for i, name := range out.ServerNames { // Envoy takes no such name either
		if len(name) > 1 && name[0] == '*' && name[1] != '.' {
			return out, values.Wrong(fmt.Sprintf("server_names[%d]", i), "%q: a wildcard begins with \"*.\"", name)
		}
	}
	if p := in.GetDestinationPort(); p != nil {
		if p.GetValue() == 0 || p.GetValue() > 65535 {
			return out, values.Wrong("destination_port", "%d is no port", p.GetValue())
		}
		out.Port = uint16(p.GetValue())
	}
	switch out.Transport {
	case "", "tls", "raw_buffer":
	default:
		return out, values.Wrong("transport_protocol", "%q is not implemented", out.Transport)
	}
	var err error
	out.Prefixes, err = values.Prefixes("prefix_ranges", in.GetPrefixRanges())
	return out, err
}

// network reads one network filter into the chain.
func (b *builder) network(in *listenerv3.Filter, made *madeChain) error {
	switch name := values.Word(string(in.GetTypedConfig().MessageName())); name {
	case "RBAC":
		message, err := values.Open("rules", in.GetTypedConfig(), &networkrbac.RBAC{})
		if err != nil {
			return err
		}
		c, err := permissions.Read(message.GetRules())
		if err != nil || c == nil {
			return values.Within("rules", err)
		}
		f, err := rbac.NewNetwork(*c)
		if err != nil {
			return values.Under("rules", err)
		}
		made.chain.Network = append(made.chain.Network, f)
	case "FilterConfig":
		return sniPort(in, made)
	case "TcpProxy":
		message, err := values.Open("tcp_proxy", in.GetTypedConfig(), &tcpproxy.TcpProxy{})
		if err != nil {
			return err
		}
		if made.chain.TCP, made.logs, err = b.tcp(message); err == nil {
			made.chain.TCP.NamePort = made.namePort
		}
		return err
	case "HttpConnectionManager":
		message, err := values.Open("http_connection_manager", in.GetTypedConfig(), &hcm.HttpConnectionManager{})
		if err != nil {
			return err
		}
		return b.http(message, made)
	default:
		return values.Wrong("type", "%q is not implemented", name)
	}
	return nil
}

func (b *builder) tcp(in *tcpproxy.TcpProxy) (*config.TCP, []*exchange.AccessLog, error) {
	out := &config.TCP{StatPrefix: in.GetStatPrefix(), IdleTimeout: values.Duration(in.GetIdleTimeout(), defaultIdle), MaxDuration: values.Duration(in.GetMaxDownstreamConnectionDuration(), 0)}
	switch c := in.GetClusterSpecifier().(type) {
	case *tcpproxy.TcpProxy_Cluster:
		out.Clusters = []route.Weighted{{Cluster: c.Cluster, Weight: 1}}
	case *tcpproxy.TcpProxy_WeightedClusters:
		var total uint64
		for _, w := range c.WeightedClusters.GetClusters() {
			total += uint64(w.GetWeight())
			out.Clusters = append(out.Clusters, route.Weighted{Cluster: w.GetName(), Weight: w.GetWeight()})
		}
		if total == 0 {
			return nil, nil, values.Wrong("weighted_clusters", "the weights sum to zero")
		}
	default:
		return nil, nil, values.Wrong("cluster", "it is empty")
	}
	for i, p := range in.GetHashPolicy() {
		if p.GetSourceIp() == nil {
			return nil, nil, values.Wrong(fmt.Sprintf("hash_policy[%d]", i), "only source_ip is implemented")
		}
		out.HashSourceIP = true
	}
	for _, c := range out.Clusters {
		b.needs.clusters[c.Cluster] = true
	}
	var err error
	if out.Tunnel, err = tunnel(in.GetTunnelingConfig()); err != nil {
		return nil, nil, err
	}
	logs, err := reports.AccessLogs("access_log", in.GetAccessLog(), b.ignored)
	return out, logs, err
}

package compile

import (
	"net/netip"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	forwardcluster "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	sniforward "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/sni_dynamic_forward_proxy/v3"
	upstreamhttp "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// byNames reads a cluster that looks names up as requests bring them: Envoy's dynamic forward proxy.
func byNames(in *cluster.Cluster, out *upstream.Config) error {
	field := "cluster_type.typed_config"
	if name := in.GetClusterType().GetTypedConfig().MessageName(); name != "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig" {
		return values.Wrong(field, "%q is not implemented", name)
	}
	config, err := values.Open(field, in.GetClusterType().GetTypedConfig(), &forwardcluster.ClusterConfig{})
	if err != nil {
		return err
	}
	if config.GetDnsCacheConfig() == nil {
		return values.Wrong(field+".dns_cache_config", "it is missing")
	}
	out.Discovery = upstream.Named
	out.DNSRefresh = values.Duration(config.GetDnsCacheConfig().GetDnsRefreshRate(), 0)
	out.DNSFamily = family(config.GetDnsCacheConfig().GetDnsLookupFamily())
	facts := values.Texts(in.GetMetadata().GetFilterMetadata()[wire.ClusterMetadata])
	out.Names.Within = facts[wire.ServiceHost]
	if said := facts[wire.ServiceSelf]; said != "" {
		for text := range strings.SplitSeq(said, ",") {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return values.Wrong("metadata.filter_metadata["+wire.ClusterMetadata+"]."+wire.ServiceSelf, "%q is no address", text)
			}
			out.Names.Self = append(out.Names.Self, a.Unmap())
		}
	}
	if said := facts[wire.ServicePort]; said != "" {
		port, err := strconv.ParseUint(said, 10, 16)
		if err != nil || port == 0 {
			return values.Wrong("metadata.filter_metadata["+wire.ClusterMetadata+"]."+wire.ServicePort, "%q is no port", said)
		}
		out.Names.Port = uint16(port)
	}
	return nil
}

// family is the network of names; 0: both.
func family(in cluster.Cluster_DnsLookupFamily) byte {
	switch in {
	case cluster.Cluster_V4_ONLY:
		return '4'
	case cluster.Cluster_V6_ONLY:
		return '6'
	}
	return 0
}

// byName is what servers are called and have to prove beside what the socket says: the name that they were asked for by.
type byName struct{ sni, san bool }

// proofs reads auto_sni and auto_san_validation. Where anybody may be asked for, nobody's word counts unless the control plane says so.
func proofs(in *cluster.Cluster, out *upstream.Config) (byName, error) {
	var by byName
	if extension := in.GetTypedExtensionProtocolOptions()[httpOptions]; extension != nil {
		options, err := values.Open("typed_extension_protocol_options["+httpOptions+"]", extension, &upstreamhttp.HttpProtocolOptions{})
		if err != nil {
			return by, err
		}
		said := options.GetUpstreamHttpProtocolOptions()
		by = byName{sni: said.GetAutoSni() && out.Discovery == upstream.Named, san: said.GetAutoSanValidation()}
	}
	if out.Discovery != upstream.Named || by.sni && by.san || in.GetTransportSocket() == nil && len(in.GetTransportSocketMatches()) == 0 {
		return by, nil
	}
	config, err := values.Open("cluster_type.typed_config", in.GetClusterType().GetTypedConfig(), &forwardcluster.ClusterConfig{})
	if err == nil && !config.GetAllowInsecureClusterOptions() {
		err = values.Wrong("cluster_type.typed_config.allow_insecure_cluster_options", "servers would not have to prove the name that they were asked for by: needed without auto_sni and auto_san_validation")
	}
	return by, err
}

// sniPort reads the filter before a relay to names that clients say in a ClientHello.
func sniPort(in *listenerv3.Filter, made *madeChain) error {
	if name := in.GetTypedConfig().MessageName(); name != "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig" {
		return values.Wrong("type", "%q is not implemented", name)
	}
	config, err := values.Open("sni_dynamic_forward_proxy", in.GetTypedConfig(), &sniforward.FilterConfig{})
	switch {
	case err != nil:
		return err
	case config.GetPortValue() > 65535:
		return values.Wrong("sni_dynamic_forward_proxy.port_value", "%d is no port", config.GetPortValue())
	}
	if made.namePort = uint16(config.GetPortValue()); made.namePort == 0 {
		made.namePort = 443
	}
	return nil
}

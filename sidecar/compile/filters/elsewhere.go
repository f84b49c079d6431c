package filters

import (
	"fmt"
	"slices"

	httpforward "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	"google.golang.org/protobuf/types/known/anypb"
	alpnv2 "istio.io/api/envoy/config/filter/http/alpn/v2alpha1"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// elsewhere reads filters that ask for what the proxy does without one: clusters that go by names look these up themselves, and handshakes with the mesh's
// servers say which HTTP follows.
func elsewhere(in *anypb.Any) error {
	switch name := in.MessageName(); name {
	case "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig":
		_, err := values.Open("dynamic_forward_proxy", in, &httpforward.FilterConfig{})
		return err
	case "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig":
		m, err := values.Open("alpn", in, &alpnv2.FilterConfig{})
		if err != nil {
			return err
		}
		return alpn(m)
	default:
		return values.Wrong("type", "%q is not implemented", name)
	}
}

// alpn refuses other protocols than those that are offered to the mesh's servers anyhow.
func alpn(in *alpnv2.FilterConfig) error {
	protocols := map[alpnv2.FilterConfig_Protocol]exchange.Protocol{
		alpnv2.FilterConfig_HTTP10: exchange.HTTP10, alpnv2.FilterConfig_HTTP11: exchange.HTTP1, alpnv2.FilterConfig_HTTP2: exchange.HTTP2,
	}
	for i, o := range in.GetAlpnOverride() {
		field := fmt.Sprintf("alpn_override[%d]", i)
		protocol, known := protocols[o.GetUpstreamProtocol()]
		if !known {
			return values.Wrong(field+".upstream_protocol", "%s is not implemented", o.GetUpstreamProtocol())
		}
		if want := mtls.MeshALPN(protocol); !slices.Equal(o.GetAlpnOverride(), want) {
			return values.Wrong(field+".alpn_override", "%q is not implemented for %s, only %q", o.GetAlpnOverride(), o.GetUpstreamProtocol(), want)
		}
	}
	return nil
}

// Package message is small parts of Envoy's messages, and how a message becomes a resource. It knows no feature.
package message

import (
	"net/netip"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	xdstype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// HTTP filters that routes may override.
const (
	FilterSession = "envoy.filters.http.stateful_session"
	FilterFault   = "envoy.filters.http.fault"
	FilterCORS    = "envoy.filters.http.cors"
)

// CIDR reads an address block or a single address, which translate has checked.
func CIDR(s string) *core.CidrRange {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return &core.CidrRange{AddressPrefix: prefix.Masked().Addr().String(), PrefixLen: U32(uint32(prefix.Bits()))}
	}
	ip, err := netip.ParseAddr(s)
	if err != nil { // matches no address that exists: an unreadable block must not widen
		return &core.CidrRange{AddressPrefix: "::", PrefixLen: U32(128)}
	}
	return &core.CidrRange{AddressPrefix: ip.String(), PrefixLen: U32(uint32(ip.BitLen()))}
}

// String says in Envoy's words how a string compares.
func String(s model.StringMatch) *matcher.StringMatcher {
	out := &matcher.StringMatcher{IgnoreCase: s.IgnoreCase}
	switch s.Kind {
	case model.MatchExact:
		out.MatchPattern = &matcher.StringMatcher_Exact{Exact: s.Value}
	case model.MatchPrefix, model.MatchPathPrefix:
		out.MatchPattern = &matcher.StringMatcher_Prefix{Prefix: s.Value}
	case model.MatchSuffix:
		out.MatchPattern = &matcher.StringMatcher_Suffix{Suffix: s.Value}
	case model.MatchNonEmpty:
		return Regex(".+")
	case model.MatchPresent:
		return Regex(".*")
	default:
		return Regex(s.Value)
	}
	return out
}

// Regex matches the whole string.
func Regex(expression string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: expression}}}
}

// HTTPFilter names a filter of requests and its configuration.
func HTTPFilter(name string, config proto.Message) *hcm.HttpFilter {
	return &hcm.HttpFilter{Name: name, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: Any(config)}}
}

// NetworkFilter names a filter of connections and its configuration.
func NetworkFilter(name string, config proto.Message) *listener.Filter {
	return &listener.Filter{Name: name, ConfigType: &listener.Filter_TypedConfig{TypedConfig: Any(config)}}
}

// Address is where an endpoint is: an address and a port, or a Unix domain socket.
func Address(at string, port uint16) *core.Address {
	if path, is := strings.CutPrefix(at, model.SocketScheme); is {
		return &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: path}}}
	}
	return TCPAddress(at, port)
}

// TCPAddress is an IP address or host name with a port.
func TCPAddress(ip string, port uint16) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: ip, PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

// Struct drops empty values.
func Struct(fields map[string]string) *structpb.Struct {
	out := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(fields))}
	for k, v := range fields {
		if v != "" {
			out.Fields[k] = structpb.NewStringValue(v)
		}
	}
	return out
}

// Rule says which rule of a VirtualService something was made of, under the key that Istio uses.
func Rule(from model.Name, path string) *core.Metadata {
	object := "/apis/networking.istio.io/v1/namespaces/" + from.Namespace + "/virtual-service/" + from.Name
	return &core.Metadata{FilterMetadata: map[string]*structpb.Struct{wire.RuleMetadata: Struct(map[string]string{wire.RuleObject: object, wire.RulePath: path})}}
}

// ExactNames are matchers for each of names.
func ExactNames(names []string) []*matcher.StringMatcher {
	var out []*matcher.StringMatcher
	for _, name := range names {
		out = append(out, Exactly(name))
	}
	return out
}

// Exactly matches one string.
func Exactly(s string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: s}}
}

// StartsWith matches a prefix.
func StartsWith(s string) *matcher.StringMatcher {
	return &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Prefix{Prefix: s}}
}

// File is the content of a file that the proxy has.
func File(name string) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_Filename{Filename: name}}
}

// Secret names a secret: one that the proxy holds itself, or one that pilot sends (wire.SecretPrefix).
func Secret(name string) *tls.SdsSecretConfig {
	return &tls.SdsSecretConfig{Name: name, SdsConfig: ADS()}
}

// ADS says that a resource comes on the stream that named it.
func ADS() *core.ConfigSource {
	return &core.ConfigSource{
		ResourceApiVersion:    core.ApiVersion_V3,
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
	}
}

// AnyPath matches every request.
func AnyPath() *route.RouteMatch {
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}}
}

// GRPCTimeout honours what gRPC clients ask for, up to limit (0: unlimited).
func GRPCTimeout(limit model.Duration) *route.RouteAction_MaxStreamDuration {
	return &route.RouteAction_MaxStreamDuration{GrpcTimeoutHeaderMax: Duration(limit)}
}

// Inline is content that travels with the message.
func Inline(b []byte) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: b}}
}

// Fraction is a share of 0 to 100 percent.
func Fraction(percent float64) *xdstype.FractionalPercent {
	return &xdstype.FractionalPercent{Numerator: uint32(percent*10_000 + 0.5), Denominator: xdstype.FractionalPercent_MILLION}
}

// RuntimeFraction is Fraction where Envoy would let one override it at run time.
func RuntimeFraction(percent float64) *core.RuntimeFractionalPercent {
	return &core.RuntimeFractionalPercent{DefaultValue: Fraction(percent)}
}

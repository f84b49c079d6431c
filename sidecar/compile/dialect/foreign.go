package dialect

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// CheckForeign is Check for what comes from a control plane that knows nothing of the dialect: a field that is not honoured is refused where it may concern
// security, and else counted. What it asks for does not happen.
func (c Checker) CheckForeign(m proto.Message) (ignored int, err error) {
	if r := (walk{c, &ignored}).message(m.ProtoReflect()); r != nil {
		return 0, r
	}
	return ignored, nil
}

// harmless says whether a field that is not honoured has to do with how traffic flows, and with nothing else. Messages that are not named here decide whom is
// trusted, who may do what, and where requests go; so do fields that are called after it, wherever they are.
func harmless(message protoreflect.FullName, field protoreflect.Name) bool {
	if !strings.HasPrefix(string(message), "envoy.config.cluster.v3.") && !strings.HasPrefix(string(message), "envoy.config.endpoint.v3.") {
		switch message {
		case "envoy.config.listener.v3.Listener", "envoy.config.route.v3.RouteAction", "envoy.config.route.v3.RetryPolicy", "envoy.config.route.v3.RouteConfiguration",
			"envoy.config.core.v3.HttpProtocolOptions", "envoy.config.core.v3.Http1ProtocolOptions", "envoy.config.core.v3.Http2ProtocolOptions",
			"envoy.config.core.v3.KeepaliveSettings", "envoy.config.core.v3.HealthCheck", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
			"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager":
		default:
			return false
		}
	}
	for _, word := range []string{"tls", "cert", "transport", "filter", "auth", "rbac", "match", "principal", "source", "subset", "xff", "forward", "internal", "original", "address",
		"path", "header", "host", "scheme", "proxy", "metadata", "redirect", "specifier", "upgrade", "transfer", "chunk", "validat", "polic", "rate_limit", "cors"} {
		if strings.Contains(string(field), word) {
			return false
		}
	}
	return true
}

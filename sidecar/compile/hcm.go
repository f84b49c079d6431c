package compile

import (
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/filters"
	"github.com/heddle-mesh/heddle/sidecar/compile/reports"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// defaultIdle is Envoy's idle timeout for connections.
const defaultIdle = time.Hour

// http reads an HttpConnectionManager into the chain.
func (b *builder) http(in *hcm.HttpConnectionManager, made *madeChain) error {
	if in.GetCodecType() != hcm.HttpConnectionManager_AUTO {
		return values.Wrong("codec_type", "%s is not implemented", in.GetCodecType())
	}
	longest, err := values.Kilobytes("max_request_headers_kb", in.GetMaxRequestHeadersKb())
	if err != nil {
		return err
	}
	fields, err := values.HeaderCount(in.GetCommonHttpProtocolOptions())
	if err != nil {
		return values.Under("common_http_protocol_options", err)
	}
	out := &config.HTTP{
		StatPrefix: in.GetStatPrefix(), ServerName: in.GetServerName(), UseRemoteAddress: in.GetUseRemoteAddress().GetValue(),
		TrustedHops: in.GetXffNumTrustedHops(), TellPort: in.GetAppendXForwardedPort(), NormalizePath: in.GetNormalizePath().GetValue(), MergeSlashes: in.GetMergeSlashes(),
		RequestID: values.Boolean(in.GetGenerateRequestId(), true), KeepRequestID: in.GetPreserveExternalRequestId(),
		IdleTimeout: values.Duration(in.GetCommonHttpProtocolOptions().GetIdleTimeout(), defaultIdle), StreamIdle: values.Duration(in.GetStreamIdleTimeout(), 5*time.Minute),
		HeadTimeout: values.Duration(in.GetRequestHeadersTimeout(), 0), RequestTimeout: values.Duration(in.GetRequestTimeout(), 0), DrainTimeout: values.Duration(in.GetDrainTimeout(), 5*time.Second),
		HTTP10: in.GetHttpProtocolOptions().GetAcceptHttp_10(), MaxHeaders: fields,
		MaxHead:       longest,
		MaxConnection: values.Duration(in.GetCommonHttpProtocolOptions().GetMaxConnectionDuration(), 0),
		MaxStream:     values.Duration(in.GetCommonHttpProtocolOptions().GetMaxStreamDuration(), 0),
		MaxStreams:    in.GetHttp2ProtocolOptions().GetMaxConcurrentStreams().GetValue(), StripMesh: true,
	}
	for _, whole := range []time.Duration{out.RequestTimeout, out.MaxStream} {
		if whole > 0 && (out.HeadTimeout == 0 || whole < out.HeadTimeout) {
			out.HeadTimeout = whole // a head is a part of it
		}
	}
	for _, step := range []func(*hcm.HttpConnectionManager, *config.HTTP) error{refused, forwarding, slashes, b.routing, b.httpFilters} {
		if err := step(in, out); err != nil {
			return err
		}
	}
	for _, u := range in.GetUpgradeConfigs() {
		out.Upgrades = append(out.Upgrades, route.UpgradeRule{Type: u.GetUpgradeType(), Enabled: values.Boolean(u.GetEnabled(), true)})
	}
	if out.Internal, err = values.Prefixes("internal_address_config.cidr_ranges", in.GetInternalAddressConfig().GetCidrRanges()); err != nil {
		return err
	}
	if made.logs, err = reports.AccessLogs("access_log", in.GetAccessLog(), b.ignored); err != nil {
		return err
	}
	if made.tracing, err = reports.Tracing("tracing", in.GetTracing(), b.options.Environment, b.ignored); err != nil {
		return err
	}
	if made.tracing != nil {
		made.tracing.Edge = out.UseRemoteAddress
	}
	made.chain.HTTP = out
	return nil
}

// refused names what is honoured only at its default.
func refused(in *hcm.HttpConnectionManager, out *config.HTTP) error {
	common := in.GetCommonHttpProtocolOptions()
	switch {
	case in.GetStripAnyHostPort():
		return values.Wrong("strip_any_host_port", "not implemented")
	case in.GetHttp2ProtocolOptions().GetConnectionKeepalive().GetInterval().AsDuration() != 0:
		return values.Wrong("http2_protocol_options.connection_keepalive", "not implemented for listeners")
	case common.GetMaxRequestsPerConnection().GetValue() != 0:
		return values.Wrong("common_http_protocol_options.max_requests_per_connection", "not implemented for listeners")
	case common.GetMaxResponseHeadersKb() != nil:
		return values.Wrong("common_http_protocol_options.max_response_headers_kb", "not implemented for listeners")
	case common.GetHeadersWithUnderscoresAction() != corev3.HttpProtocolOptions_ALLOW:
		return values.Wrong("common_http_protocol_options.headers_with_underscores_action", "%s is not implemented", common.GetHeadersWithUnderscoresAction())
	}
	switch in.GetServerHeaderTransformation() {
	case hcm.HttpConnectionManager_OVERWRITE:
	case hcm.HttpConnectionManager_PASS_THROUGH:
		out.KeepServer = true
	default:
		return values.Wrong("server_header_transformation", "%s is not implemented", in.GetServerHeaderTransformation())
	}
	return nil
}

// forwarding reads what is said of the client's certificate.
func forwarding(in *hcm.HttpConnectionManager, out *config.HTTP) error {
	mode, known := map[hcm.HttpConnectionManager_ForwardClientCertDetails]config.ForwardCert{
		hcm.HttpConnectionManager_SANITIZE: config.Sanitize, hcm.HttpConnectionManager_FORWARD_ONLY: config.ForwardOnly,
		hcm.HttpConnectionManager_APPEND_FORWARD: config.AppendForward, hcm.HttpConnectionManager_SANITIZE_SET: config.SanitizeSet,
		hcm.HttpConnectionManager_ALWAYS_FORWARD_ONLY: config.AlwaysForwardOnly,
	}[in.GetForwardClientCertDetails()]
	if !known {
		return values.Wrong("forward_client_cert_details", "%s is not implemented", in.GetForwardClientCertDetails())
	}
	details := in.GetSetCurrentClientCertDetails()
	out.ForwardCert, out.CertSubject, out.CertURI, out.CertDNS = mode, details.GetSubject().GetValue(), details.GetUri(), details.GetDns()
	out.CertPEM = details.GetCert()
	return nil
}

func slashes(in *hcm.HttpConnectionManager, out *config.HTTP) error {
	action, known := map[hcm.HttpConnectionManager_PathWithEscapedSlashesAction]config.EscapedSlashes{
		hcm.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT: config.SlashesKeep, hcm.HttpConnectionManager_KEEP_UNCHANGED: config.SlashesKeep,
		hcm.HttpConnectionManager_REJECT_REQUEST: config.SlashesReject, hcm.HttpConnectionManager_UNESCAPE_AND_REDIRECT: config.SlashesUnescapeRedirect,
		hcm.HttpConnectionManager_UNESCAPE_AND_FORWARD: config.SlashesUnescapeForward,
	}[in.GetPathWithEscapedSlashesAction()]
	if !known {
		return values.Wrong("path_with_escaped_slashes_action", "%s is not implemented", in.GetPathWithEscapedSlashesAction())
	}
	out.EscapedSlashes = action
	return nil
}

// routing reads where the routes are.
func (b *builder) routing(in *hcm.HttpConnectionManager, out *config.HTTP) error {
	switch r := in.GetRouteSpecifier().(type) {
	case *hcm.HttpConnectionManager_Rds:
		out.RouteName = r.Rds.GetRouteConfigName()
		if out.RouteName == "" {
			return values.Wrong("rds.route_config_name", "it is empty")
		}
		b.needs.routes[out.RouteName] = true
	case *hcm.HttpConnectionManager_RouteConfig:
		description, err := b.routes(r.RouteConfig)
		if err != nil {
			return values.Under("route_config", err)
		}
		if out.Routes, err = route.New(description); err != nil {
			return values.Under("route_config", err)
		}
	default:
		return values.Wrong("route_specifier", "one is needed")
	}
	return nil
}

// httpFilters reads the filters of requests; the last one is the router.
func (b *builder) httpFilters(in *hcm.HttpConnectionManager, out *config.HTTP) error {
	all := in.GetHttpFilters()
	var made []filter.Named
	for i, f := range all {
		field := fmt.Sprintf("http_filters[%d].typed_config", i)
		name := values.Word(string(f.GetTypedConfig().MessageName()))
		if last := i == len(all)-1; last != (name == "Router") {
			return values.Wrong(field, "the router is the last filter and the only one")
		}
		if name == "Router" {
			message, err := values.Open(field, f.GetTypedConfig(), &router.Router{})
			if err != nil {
				return err
			}
			out.Quiet = message.GetSuppressEnvoyHeaders()
			continue
		}
		named, err := filters.HTTP(f)
		if err != nil {
			return values.Under(field, err)
		}
		if named != nil {
			made = append(made, *named)
		}
	}
	if len(all) == 0 {
		return values.Wrong("http_filters", "the router is missing")
	}
	var err error
	if out.Filters, err = filter.Sort(made); err != nil {
		return values.Wrong("http_filters", "%w", err)
	}
	return nil
}

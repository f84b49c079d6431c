package mesh

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshapi "istio.io/api/mesh/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// leastRefresh is just above Envoy's limit.
const leastRefresh = 2 * time.Millisecond

// transport reads how connections are made and recognised where no other object says it.
func transport(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	m.DetectionTimeout = atLeastZero(log, "mesh.protocolDetectionTimeout", c.ProtocolDetectionTimeout)
	if m.DNSRefresh = positive(log, "mesh.dnsRefreshRate", c.DnsRefreshRate); m.DNSRefresh > 0 {
		m.DNSRefresh = max(m.DNSRefresh, leastRefresh)
	}
	if k := c.TcpKeepalive; k != nil {
		m.Keepalive = &model.Keepalive{Probes: k.Probes, Time: atLeastZero(log, "mesh.tcpKeepalive.time", k.Time),
			Interval: atLeastZero(log, "mesh.tcpKeepalive.interval", k.Interval)}
	}
	switch c.H2UpgradePolicy {
	case meshapi.MeshConfig_DO_NOT_UPGRADE:
	case meshapi.MeshConfig_UPGRADE:
		m.UpgradeHTTP2 = true
	default:
		log.Partialf("mesh.h2UpgradePolicy", "%d: unknown; DO_NOT_UPGRADE is in force", c.H2UpgradePolicy)
	}
}

// unknown reads what becomes of traffic to destinations that are in no registry.
func unknown(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	const path = "mesh.outboundTrafficPolicy"
	p := c.OutboundTrafficPolicy
	if p == nil {
		return
	}
	switch p.Mode {
	case meshapi.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY:
	case meshapi.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY:
		m.RegistryOnly = true
	case meshapi.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY_DYNAMIC_DNS:
		if tls, ok := istioapi.ClientTLS(log, path+".tls", p.Tls); ok {
			m.AnyName, m.AnyNameTLS = true, tls
			return
		}
		m.RegistryOnly = true
		log.Partialf(path, "REGISTRY_ONLY is in force")
		return
	default:
		m.RegistryOnly = true
		log.Partialf(path+".mode", "%s: unknown; REGISTRY_ONLY is in force", p.Mode)
	}
	if p.Tls != nil {
		log.Partialf(path+".tls", "without effect: it is for mode ALLOW_ANY_DYNAMIC_DNS")
	}
}

// atLeastZero reads a duration; 0 where none is given, or none that can be.
func atLeastZero(log *report.Log, path string, d *durationpb.Duration) model.Duration {
	return max(values.DurationOr(log, path, d, 0), 0)
}

// positive is atLeastZero for what cannot be 0.
func positive(log *report.Log, path string, d *durationpb.Duration) model.Duration {
	if d != nil && d.AsDuration() == 0 {
		log.Partialf(path, "0s: a duration of at least 1ms expected")
	}
	return atLeastZero(log, path, d)
}

// forwarded reads what becomes of X-Forwarded-Client-Cert; "": the default.
func forwarded(log *report.Log, field string, mode meshapi.ForwardClientCertDetails, byDefault string) string {
	if _, known := meshapi.ForwardClientCertDetails_name[int32(mode)]; !known {
		log.Partialf("mesh.defaultConfig."+field, "%d: unknown; %s is in force", mode, byDefault)
		return ""
	}
	if mode == meshapi.ForwardClientCertDetails_UNDEFINED {
		return ""
	}
	return mode.String()
}

// headers reads what proxies add to requests and responses.
func headers(log *report.Log, c *meshapi.MeshConfig) model.ProxyHeaders {
	const path = "proxyHeaders."
	h := c.GetDefaultConfig().GetProxyHeaders()
	out := model.ProxyHeaders{
		Server: h.GetServer().GetValue(), KeepServer: h.GetServer().GetDisabled().GetValue(),
		NoRequestID: h.GetRequestId().GetDisabled().GetValue(), NoAttemptCount: h.GetAttemptCount().GetDisabled().GetValue(),
		ForwardedHost: h.GetXForwardedHost().GetEnabled().GetValue(), ForwardedPort: h.GetXForwardedPort().GetEnabled().GetValue(),
		NoEnvoyHeaders:    h.GetEnvoyDebugHeaders().GetDisabled().GetValue(),
		ForwardClientCert: forwarded(log, path+"forwardedClientCert", h.GetForwardedClientCert(), "APPEND_FORWARD"),
	}
	if out.KeepServer {
		out.Server = ""
	}
	if strings.ContainsFunc(out.Server, unicode.IsControl) {
		log.Partialf("mesh.defaultConfig."+path+"server.value", "%q: not the value of a header", out.Server)
		out.Server = ""
	}
	if h.GetMetadataExchangeHeaders().GetMode() != meshapi.ProxyConfig_ProxyHeaders_UNDEFINED {
		log.Warnf("mesh.defaultConfig."+path+"metadataExchangeHeaders.mode", "without effect: proxies send no such headers, inside of the mesh or outside")
	}
	if d := h.GetSetCurrentClientCertDetails(); d != nil {
		off := func(b *wrapperspb.BoolValue) bool { return b != nil && !b.Value }
		out.ClientCert = model.ClientCert{NoSubject: off(d.Subject), NoURI: off(d.Uri), NoDNS: off(d.Dns), PEM: d.GetCert().GetValue()}
	}
	return out
}

// only refuses the values, of fields that have just one here, that are another.
func only(log *report.Log, c *meshapi.MeshConfig) {
	//lint:ignore SA1019 people still write it
	if v := c.VerifyCertificateAtClient; v != nil && !v.Value {
		log.Partialf("mesh.verifyCertificateAtClient", "false: servers are always verified, by the system's roots where nothing names others")
	}
	if mode := c.GetInboundTrafficPolicy().GetMode(); mode != meshapi.MeshConfig_InboundTrafficPolicy_PASSTHROUGH {
		log.Partialf("mesh.inboundTrafficPolicy.mode", "%s is not implemented by this version; PASSTHROUGH is in force", mode)
	}
	if mode := c.GetDefaultConfig().GetInterceptionMode(); mode != meshapi.ProxyConfig_REDIRECT {
		log.Partialf("mesh.defaultConfig.interceptionMode", "%s is not implemented by this version; REDIRECT is in force", mode)
	}
}

// Selectors are the discoverySelectors: of the namespaces that count, each matches one or more. None: every namespace counts.
func Selectors(c *meshapi.MeshConfig) ([]labels.Selector, error) {
	var out []labels.Selector
	for i, in := range c.DiscoverySelectors {
		selector := &metav1.LabelSelector{MatchLabels: in.MatchLabels}
		for _, e := range in.MatchExpressions {
			selector.MatchExpressions = append(selector.MatchExpressions,
				metav1.LabelSelectorRequirement{Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: e.Values})
		}
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		out = append(out, s)
	}
	return out, nil
}

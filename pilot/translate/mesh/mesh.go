// Package mesh translates the settings of the whole mesh: Istio's MeshConfig, and Telemetry objects of the root namespace. It is
// pure. Settings that this version does not implement are reported and have no effect; all others stay in force.
package mesh

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	meshapi "istio.io/api/mesh/v1alpha1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// Stdout is where proxies log; there is no other file in their image.
const Stdout = "/dev/stdout"

var honoured = fields.New(
	"{trustDomain,trustDomainAliases,rootNamespace,enableAutoMtls,connectTimeout}",
	"outboundTrafficPolicy.mode",
	"{defaultServiceExportTo,defaultVirtualServiceExportTo,defaultDestinationRuleExportTo}",
	"defaultHttpRetryPolicy.{attempts,perTryTimeout,retryOn,retryRemoteLocalities,retryIgnorePreviousHosts,backoff}",
	"{accessLogFile,accessLogFormat,accessLogEncoding}",
	"{enableTracing,enablePrometheusMerge}",
	"defaultConfig.{tracing.sampling,proxyMetadata}",
	"defaultConfig.gatewayTopology.{numTrustedProxies,proxyProtocol}",
	"extensionProviders.{name,opentelemetry.{service,port},envoyFileAccessLog.path}",
	"defaultProviders.{tracing,accessLogging}",
	"pathNormalization.normalization",
	istioapi.LocalityFields,
	"meshMTLS.minProtocolVersion",
	"tlsDefaults.{minProtocolVersion,cipherSuites,ecdhCurves}",
	"{ingressControllerMode,ingressClass,ingressSelector,ingressService}",
)

// Mesh translates the settings and, laid over them, the Telemetry that speaks for the mesh. Fields that are refused leave their default in
// force.
func Mesh(in *inputs.Mesh, telemetries []*inputs.Telemetry) (*model.Mesh, []report.Issue) {
	c, log := in.Config, &report.Log{}
	for _, p := range in.Problems {
		log.Partialf(p.Path, "%s", p.Reason)
	}
	unset := &report.Log{}
	honoured.Check(c, "mesh", unset)
	for _, i := range unset.Issues {
		log.Partialf(i.Path, "%s", i.Reason)
	}
	m := &model.Mesh{
		TrustDomainAliases: c.TrustDomainAliases,
		RootNamespace:      cmp.Or(c.RootNamespace, in.Namespace),
		ClusterDomain:      in.ClusterDomain,
		ClusterID:          in.ClusterID,
		AutoMTLS:           c.EnableAutoMtls == nil || c.EnableAutoMtls.Value,
		ConnectTimeout:     connectTimeout(log, c),
		TrustedProxies:     c.GetDefaultConfig().GetGatewayTopology().GetNumTrustedProxies(),
		ProxyProtocol:      c.GetDefaultConfig().GetGatewayTopology().GetProxyProtocol() != nil,
		DefaultRetry:       retry(log, c),
		Ingress:            ingress(log, c),
	}
	m.ServiceExport = defaultExport(log, "mesh.defaultServiceExportTo", c.DefaultServiceExportTo)
	m.VirtualServiceExport = defaultExport(log, "mesh.defaultVirtualServiceExportTo", c.DefaultVirtualServiceExportTo)
	m.DestinationRuleExport = defaultExport(log, "mesh.defaultDestinationRuleExportTo", c.DefaultDestinationRuleExportTo)
	if p := c.OutboundTrafficPolicy; p != nil {
		switch p.Mode {
		case meshapi.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY:
		case meshapi.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY:
			m.RegistryOnly = true
		default:
			m.RegistryOnly = true
			log.Partialf("mesh.outboundTrafficPolicy.mode", "%s is not implemented by this version; REGISTRY_ONLY is in force", p.Mode)
		}
	}
	trustDomain(log, in, m)
	normalization(log, c, m)
	accessLog(log, c, m)
	tracing(log, c, m)
	metadata(log, c, m)
	m.Locality = locality(log, c)
	m.MeshTLS = model.TLSParameters{MinVersion: tlsVersion(log, "mesh.meshMTLS", c.MeshMTLS)}
	m.TLS = tlsParameters(log, "mesh.tlsDefaults", c.TlsDefaults)
	if o := oldest(telemetries, m.RootNamespace, c); o != nil {
		applyTelemetry(&report.Log{}, c, o.Spec, m) // judged by itself
	}
	for i := range log.Issues {
		log.Issues[i].Severity = min(log.Issues[i].Severity, report.Partial)
	}
	return m, log.Issues
}

// metadata reads whether DNS is captured, and whether discovery is on demand. Other metadata of proxies means nothing here.
func metadata(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	metadata := c.GetDefaultConfig().GetProxyMetadata()
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		path := "mesh.defaultConfig.proxyMetadata[" + name + "]"
		value, err := strconv.ParseBool(metadata[name])
		switch {
		case name != wire.EnvDNSCapture && name != wire.EnvDNSAutoAllocate && name != wire.EnvOnDemand:
			log.Partialf(path, "not implemented by this version")
		case err != nil:
			log.Partialf(path, "%q is neither true nor false", metadata[name])
		case name == wire.EnvDNSCapture:
			m.DNSCapture = value
		case name == wire.EnvOnDemand:
			m.OnDemand = value
		default:
			m.DNSUnallocated = !value
		}
	}
}

// connectTimeout is how long connecting may take: 10 s, unless something sensible is said.
func connectTimeout(log *report.Log, c *meshapi.MeshConfig) time.Duration {
	const byDefault = 10 * time.Second
	d := values.DurationOr(log, "mesh.connectTimeout", c.ConnectTimeout, byDefault)
	if d == 0 {
		log.Partialf("mesh.connectTimeout", "0s: a duration of at least 1ms expected")
	}
	if d < time.Millisecond {
		return byDefault
	}
	return d
}

// retry is the policy of routes without one: Istio's, unless a sound one is said.
func retry(log *report.Log, c *meshapi.MeshConfig) *model.Retry {
	said := &report.Log{}
	out := istioapi.Retry(said, "mesh.defaultHttpRetryPolicy", c.DefaultHttpRetryPolicy)
	log.Issues = append(log.Issues, said.Issues...)
	if said.Failed() {
		return istioapi.Retry(said, "", nil)
	}
	return out
}

// locality is the preference of the mesh: the nearest first, unless something else is said.
func locality(log *report.Log, c *meshapi.MeshConfig) *model.LocalityPolicy {
	said := &report.Log{}
	out := istioapi.Locality(said, "mesh.localityLbSetting", c.LocalityLbSetting)
	log.Issues = append(log.Issues, said.Issues...)
	switch {
	case out != nil && out.Off:
		return nil
	case out == nil || said.Failed():
		return &model.LocalityPolicy{}
	}
	return out
}

// ingress says which Ingresses count, and which gateways serve them.
func ingress(log *report.Log, c *meshapi.MeshConfig) model.IngressSettings {
	const byDefault = "istio-ingressgateway" // the Service's name there, the label's value is without the prefix
	out := model.IngressSettings{Class: cmp.Or(c.IngressClass, wire.IngressClass), Service: c.IngressService, Selector: model.Selector{"istio": "ingressgateway"}}
	switch c.IngressControllerMode {
	case meshapi.MeshConfig_UNSPECIFIED, meshapi.MeshConfig_STRICT:
	case meshapi.MeshConfig_DEFAULT:
		out.Classless = true
	default:
		if out.Off = true; c.IngressControllerMode != meshapi.MeshConfig_OFF {
			log.Partialf("mesh.ingressControllerMode", "%d: unknown; OFF is in force", c.IngressControllerMode)
		}
	}
	_, name, namespaced := strings.Cut(c.IngressService, "/")
	if !namespaced {
		name = c.IngressService
	}
	switch {
	case c.IngressSelector != "":
		out.Selector = model.Selector{"istio": c.IngressSelector}
	case name != "" && name != byDefault:
		out.Selector = model.Selector{"istio": name}
	}
	return out
}

// trustDomain is the one that the certificate authority issues for, whatever the settings say.
func trustDomain(log *report.Log, in *inputs.Mesh, m *model.Mesh) {
	m.TrustDomain = cmp.Or(in.TrustDomain, in.Config.TrustDomain, wire.DefaultTrustDomain)
	if said := in.Config.TrustDomain; said != "" && said != m.TrustDomain {
		log.Partialf("mesh.trustDomain", "%q: the certificate authority issues for %q, which is in force", said, m.TrustDomain)
	}
}

func defaultExport(log *report.Log, path string, list []string) model.Visibility {
	if len(list) == 0 {
		return model.Visibility{Public: true}
	}
	return values.ParseExport(log, path, list)
}

func normalization(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	switch n := c.GetPathNormalization().GetNormalization(); n {
	case meshapi.MeshConfig_ProxyPathNormalization_DEFAULT, meshapi.MeshConfig_ProxyPathNormalization_BASE:
		m.PathNormalization = model.PathBase
	case meshapi.MeshConfig_ProxyPathNormalization_NONE:
		m.PathNormalization = model.PathNone
	case meshapi.MeshConfig_ProxyPathNormalization_MERGE_SLASHES:
		m.PathNormalization = model.PathMergeSlashes
	case meshapi.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES:
		m.PathNormalization = model.PathDecodeAndMergeSlashes
	default:
		log.Partialf("mesh.pathNormalization.normalization", "%d: unknown; DECODE_AND_MERGE_SLASHES is in force", n)
		m.PathNormalization = model.PathDecodeAndMergeSlashes
	}
}

func accessLog(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	m.AccessLog = model.AccessLog{JSON: c.AccessLogEncoding == meshapi.MeshConfig_JSON}
	logFormat(log, c, m)
	if logsToStdout(log, "mesh.accessLogFile", c.AccessLogFile) {
		m.AccessLog.File = Stdout
	}
	for i, name := range c.GetDefaultProviders().GetAccessLogging() {
		applyAccessLog(log, fmt.Sprintf("mesh.defaultProviders.accessLogging[%d]", i), c, name, m)
	}
}

// logFormat checks the format of the access log: a text or, for JSON, an object of texts. A bad one leaves the default in force.
func logFormat(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	texts := []string{c.AccessLogFormat}
	if m.AccessLog.JSON && c.AccessLogFormat != "" {
		var object map[string]string
		if err := json.Unmarshal([]byte(c.AccessLogFormat), &object); err != nil {
			log.Partialf("mesh.accessLogFormat", "for JSON an object of texts is expected: %v", err)
			return
		}
		texts = slices.Collect(maps.Values(object))
	}
	for _, text := range texts {
		if err := values.Format(text); err != nil {
			log.Partialf("mesh.accessLogFormat", "%v", err)
			return
		}
	}
	m.AccessLog.Format = c.AccessLogFormat
}

func logsToStdout(log *report.Log, path, file string) bool {
	if file != "" && file != Stdout {
		log.Partialf(path, "%q: only %q is implemented by this version", file, Stdout)
	}
	return file == Stdout
}

func applyAccessLog(log *report.Log, path string, c *meshapi.MeshConfig, name string, m *model.Mesh) {
	if p := provider(c, name); p.GetEnvoyFileAccessLog() != nil {
		file := p.GetEnvoyFileAccessLog().Path
		if logsToStdout(log, path, cmp.Or(file, Stdout)) {
			m.AccessLog.File = Stdout
		}
		return
	}
	if name == "envoy" {
		m.AccessLog.File = Stdout
		return
	}
	log.Partialf(path, "no access log provider %q among mesh.extensionProviders", name)
}

func tracing(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	m.Tracing.Sampling = 1
	if t := c.GetDefaultConfig().GetTracing(); t != nil {
		m.Tracing.Sampling = percent(log, "mesh.defaultConfig.tracing.sampling", t.Sampling)
	}
	for i, name := range c.GetDefaultProviders().GetTracing() {
		applyTracing(log, fmt.Sprintf("mesh.defaultProviders.tracing[%d]", i), c, name, m)
	}
	if c.EnableTracing && m.Tracing.Target == "" {
		log.Partialf("mesh.enableTracing", "no defaultProviders.tracing says where spans go")
	}
}

func applyTracing(log *report.Log, path string, c *meshapi.MeshConfig, name string, m *model.Mesh) {
	p := provider(c, name).GetOpentelemetry()
	if p == nil || p.Service == "" || p.Port == 0 {
		log.Partialf(path, "no opentelemetry provider %q with service and port among mesh.extensionProviders", name)
		return
	}
	host := p.Service
	if _, after, ok := strings.Cut(host, "/"); ok { // namespace/host
		host = after
	}
	m.Tracing.Target = fmt.Sprintf("%s:%d", host, p.Port)
}

func provider(c *meshapi.MeshConfig, name string) *meshapi.MeshConfig_ExtensionProvider {
	for _, p := range c.ExtensionProviders {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func percent(log *report.Log, path string, v float64) float64 {
	if v < 0 || v > 100 {
		log.Partialf(path, "%v: a percentage between 0 and 100 expected", v)
		return 0
	}
	return v
}

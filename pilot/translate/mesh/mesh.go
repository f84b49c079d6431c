// Package mesh translates the settings of the whole mesh: Istio's MeshConfig, and Telemetry objects of the root namespace. It is
// pure. Settings that this version does not implement are reported and have no effect; all others stay in force.
package mesh

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	meshapi "istio.io/api/mesh/v1alpha1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var honoured = fields.New(
	"{trustDomain,trustDomainAliases,rootNamespace,enableAutoMtls,connectTimeout}",
	"outboundTrafficPolicy.{mode,tls.{mode,clientCertificate,privateKey,caCertificates,caCrl,subjectAltNames,sni,insecureSkipVerify}}",
	"{defaultServiceExportTo,defaultVirtualServiceExportTo,defaultDestinationRuleExportTo}",
	"defaultHttpRetryPolicy.{attempts,perTryTimeout,retryOn,retryRemoteLocalities,retryIgnorePreviousHosts,backoff}",
	"{accessLogFile,accessLogFormat,accessLogEncoding}",
	"{enableTracing,enablePrometheusMerge}",
	"{protocolDetectionTimeout,tcpKeepalive.{probes,time,interval},h2UpgradePolicy,dnsRefreshRate,verifyCertificateAtClient}",
	"defaultConfig.{tracing.{sampling,maxPathTagLength,customTags.{literal.value,header.{name,defaultValue},environment.{name,defaultValue}}},proxyMetadata,concurrency,holdApplicationUntilProxyStarts,terminationDrainDuration,drainDuration,image.imageType}",
	"defaultConfig.interceptionMode",
	"defaultConfig.gatewayTopology.{numTrustedProxies,forwardClientCertDetails,proxyProtocol}",
	"defaultConfig.proxyHeaders.{server.{disabled,value},requestId.disabled,attemptCount.disabled,envoyDebugHeaders.disabled,xForwardedHost.enabled,xForwardedPort.enabled,metadataExchangeHeaders.mode}",
	"defaultConfig.proxyHeaders.{forwardedClientCert,setCurrentClientCertDetails.{subject,cert,dns,uri}}",
	"inboundTrafficPolicy.mode",
	"discoverySelectors.{matchLabels,matchExpressions.{key,operator,values}}",
	"extensionProviders.{name,opentelemetry.{service,port},envoyFileAccessLog.{path,logFormat.{text,labels}},prometheus}",
	"defaultProviders.{tracing,metrics,accessLogging}",
	"disableEnvoyListenerLog",
	"pathNormalization.normalization",
	istioapi.LocalityFields,
	"defaultTrafficPolicy."+istioapi.BaselineFields,
	"meshMTLS.minProtocolVersion",
	"tlsDefaults.{minProtocolVersion,cipherSuites,ecdhCurves}",
	"{ingressControllerMode,ingressClass,ingressSelector,ingressService}",
)

// Mesh translates the settings. Fields that are refused leave their default in force.
func Mesh(in *inputs.Mesh) (*model.Mesh, []report.Issue) {
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
		RootNamespace:      cmp.Or(c.RootNamespace, in.Namespace),
		ClusterDomain:      in.ClusterDomain,
		ClusterID:          in.ClusterID,
		StrictHosts:        in.StrictHostOwnership,
		Machines:           in.Machines,
		MachinesPerAccount: in.MachinesPerAccount,
		Sessions:           in.PersistentSessions,
		AutoMTLS:           c.EnableAutoMtls == nil || c.EnableAutoMtls.Value,
		ConnectTimeout:     connectTimeout(log, c),
		DefaultRetry:       retry(log, c),
		Ingress:            ingress(log, c),
	}
	m.ServiceExport = defaultExport(log, "mesh.defaultServiceExportTo", c.DefaultServiceExportTo)
	m.VirtualServiceExport = defaultExport(log, "mesh.defaultVirtualServiceExportTo", c.DefaultVirtualServiceExportTo)
	m.DestinationRuleExport = defaultExport(log, "mesh.defaultDestinationRuleExportTo", c.DefaultDestinationRuleExportTo)
	unknown(log, c, m)
	trustDomain(log, in, m)
	aliases(log, c, m)
	normalization(log, c, m)
	accessLog(log, c, m)
	providers(log, c, m)
	tracing(log, c, m)
	transport(log, c, m)
	m.Topology = topology(log, c)
	m.Headers = headers(log, c)
	m.Proxy = defaultProxy(log, c, m)
	only(log, c)
	if _, err := Selectors(c); err != nil {
		log.Partialf("mesh.discoverySelectors", "%v; every namespace counts", err)
	}
	m.Locality = locality(log, c)
	m.Baseline = istioapi.Baseline(log, "mesh.defaultTrafficPolicy", c.DefaultTrafficPolicy)
	m.MeshTLS = model.TLSParameters{MinVersion: tlsVersion(log, "mesh.meshMTLS", c.MeshMTLS)}
	m.TLS = tlsParameters(log, "mesh.tlsDefaults", c.TlsDefaults)
	for i := range log.Issues {
		log.Issues[i].Severity = min(log.Issues[i].Severity, report.Partial)
	}
	return m, log.Issues
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

func aliases(log *report.Log, c *meshapi.MeshConfig, m *model.Mesh) {
	for i, name := range c.TrustDomainAliases {
		if _, err := spiffe.New(name, "namespace", "account"); err != nil {
			log.Partialf(fmt.Sprintf("mesh.trustDomainAliases[%d]", i), "%q is no trust domain", name)
			continue
		}
		m.TrustDomainAliases = append(m.TrustDomainAliases, name)
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

func percent(log *report.Log, path string, v float64) float64 {
	if v < 0 || v > 100 {
		log.Partialf(path, "%v: a percentage between 0 and 100 expected", v)
		return 0
	}
	return v
}

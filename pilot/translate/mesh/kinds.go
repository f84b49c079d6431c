package mesh

import (
	meshapi "istio.io/api/mesh/v1alpha1"
	proxyconfig "istio.io/api/networking/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// Kinds says what becomes of the mesh's settings.
func Kinds() []fields.Kind {
	const variables = "variables of DNS capture (`ISTIO_META_DNS_CAPTURE`, `ISTIO_META_DNS_AUTO_ALLOCATE`), our own `HEDDLE_ON_DEMAND`, those of Go's runtime, of gRPC and of certificates; others are refused, since proxies read none"
	const images = "`default` and `distroless`, which are the same"
	const suites = "suites and curves that this version does not have are left out, and reported"
	return []fields.Kind{
		{Name: "MeshConfig", Message: &meshapi.MeshConfig{}, Honoured: honoured, Large: true,
			Differs: []fields.Note{
				{Path: "trustDomainAliases", Why: "what is no trust domain is left out, and reported. The certificate authority hears of aliases from `--trust-domain-aliases`, which the chart sets"},
				{Path: "outboundTrafficPolicy.mode", Why: "with ALLOW_ANY_DYNAMIC_DNS, names that lead to the proxy's own machine, its links or loopback are answered 503"},
				{Path: "outboundTrafficPolicy.tls.mode", Why: "ISTIO_MUTUAL is refused: nobody knows the identities of unknown servers"},
				{Path: "defaultConfig.proxyMetadata", Why: variables},
				{Path: "defaultConfig.image.imageType", Why: images},
				{Path: "defaultConfig.interceptionMode", Why: "REDIRECT only"},
				{Path: "defaultConfig.holdApplicationUntilProxyStarts", Why: "true unless said; a proxy that is a native sidecar always starts first"},
				{Path: "defaultConfig.terminationDrainDuration", Why: "the longest that connections may go on at the end: proxies end as soon as nothing goes on. The installation's, 45 s, unless said"},
				{Path: "defaultConfig.drainDuration", Why: "the longest that connections may go on once another process has taken over from the proxy (`HEDDLE_TAKEOVER`); those of listeners that change or go are not cut"},
				{Path: "defaultConfig.proxyHeaders.metadataExchangeHeaders.mode", Why: "without effect, with a warning: proxies send no such headers; who a peer is, they know from its certificate"},
				{Path: "inboundTrafficPolicy.mode", Why: "PASSTHROUGH only"},
				{Path: "verifyCertificateAtClient", Why: "true only"},
				{Path: "discoverySelectors", Why: "security policies, whose status is then not written, and the control plane's own and the root namespace, always count"},
				{Path: "defaultProviders.metrics", Why: "prometheus, which is on even if it is not named; a Telemetry turns metrics off"},
				{Path: "extensionProviders.envoyFileAccessLog.path", Why: "`/dev/stdout`"},
				{Path: "ingressClass", Why: "`heddle` unless said"},
				{Path: "ingressService", Why: "`name` or `namespace/name`; unless said, the oldest Service that has the label of ingressSelector. Only status is read from it"},
				{Path: "accessLogFile", Why: "`/dev/stdout` or nothing"},
				{Path: "tlsDefaults.{cipherSuites,ecdhCurves}", Why: suites},
			}},
		{Name: "Telemetry", Message: &telemetry.Telemetry{}, Honoured: telemetryFields, Large: true,
			Refused: []fields.Note{{Path: "{targetRef,targetRefs}", Why: "for Gateways of Kubernetes and for waypoints, which this version has not; `selector` says whose gateways and sidecars are meant"}},
			Differs: []fields.Note{
				{Path: "metrics.overrides.tagOverrides.value", Why: "an attribute of the request, the response or the connection, a constant, `string()` of one of them, or `condition ? a : b`, with conditions as in accessLogging.filter"},
				{Path: "metrics.providers.name", Why: "prometheus"},
				{Path: "accessLogging.disabled", Why: "where no providers are in force, it turns off the file of accessLogFile, which Istio goes on writing"},
				{Path: "accessLogging.filter.expression", Why: "comparisons of attributes of the request, the response and the connection with constants, `has`, `in`, `startsWith`, `endsWith`, `contains` and `matches`, joined by and, or and not"},
				{Path: "tracing.useRequestIdForTraceSampling", Why: "request ids never decide: `true` is without effect, with a warning"},
				{Path: "metrics.overrides.match.metric", Why: "`GRPC_REQUEST_MESSAGES` and `GRPC_RESPONSE_MESSAGES` are not counted, and may be disabled only"},
			}},
		{Name: "ProxyConfig", Message: &proxyconfig.ProxyConfig{}, Honoured: proxyConfigFields,
			Differs: []fields.Note{
				{Path: "concurrency", Why: "of sidecars, as all of this kind: gateways run as their Deployment says"},
				{Path: "environmentVariables", Why: variables},
				{Path: "image.imageType", Why: images},
			}},
	}
}

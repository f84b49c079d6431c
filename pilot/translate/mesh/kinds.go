package mesh

import (
	meshapi "istio.io/api/mesh/v1alpha1"
	telemetry "istio.io/api/telemetry/v1alpha1"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// Kinds says what becomes of the mesh's settings.
func Kinds() []fields.Kind {
	const suites = "suites and curves that this version does not have are left out, and reported"
	return []fields.Kind{
		{Name: "MeshConfig", Message: &meshapi.MeshConfig{}, Honoured: honoured, Large: true,
			Differs: []fields.Note{
				{Path: "outboundTrafficPolicy.mode", Why: "other modes than ALLOW_ANY and REGISTRY_ONLY count as REGISTRY_ONLY"},
				{Path: "defaultConfig.proxyMetadata", Why: "`ISTIO_META_DNS_CAPTURE`, `ISTIO_META_DNS_AUTO_ALLOCATE` and our own `HEDDLE_ON_DEMAND`"},
				{Path: "ingressClass", Why: "`heddle` unless said"},
				{Path: "ingressService", Why: "`name` or `namespace/name`; unless said, the oldest Service that has the label of ingressSelector. Only status is read from it"},
				{Path: "accessLogFile", Why: "`/dev/stdout` or nothing"},
				{Path: "tlsDefaults.{cipherSuites,ecdhCurves}", Why: suites},
			}},
		{Name: "Telemetry", Message: &telemetry.Telemetry{}, Honoured: telemetryFields, Large: true,
			Differs: []fields.Note{
				{Path: "{tracing,accessLogging}", Why: "of the whole mesh only: in the root namespace, without a selector"},
			}},
	}
}

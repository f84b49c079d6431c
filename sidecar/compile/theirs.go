package compile

import (
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// theirMetadata is the filter_metadata key under which Istio's control plane says of clusters and endpoints what telemetry tells. Pilot has keys of its own.
const theirMetadata = "istio"

// theirService reads whose cluster it is, and whether that is outside of the mesh.
func theirService(in *structpb.Struct) (s exchange.Service, external bool) {
	fields := in.GetFields()
	if all := fields["services"].GetListValue().GetValues(); len(all) > 0 {
		first := values.Texts(all[0].GetStructValue())
		s = exchange.Service{Host: first["host"], Name: first["name"], Namespace: first["namespace"]}
	}
	return s, fields["external"].GetBoolValue()
}

// theirFacts reads who runs at an endpoint: "workload;namespace;canonical name;canonical revision;cluster".
func theirFacts(in *structpb.Struct) map[string]string {
	said := strings.Split(values.Texts(in)["workload"], ";")
	keys := []string{wire.FactWorkload, wire.FactNamespace, wire.FactCanonicalName, wire.FactCanonicalRevision, wire.FactCluster}
	if len(said) != len(keys) {
		return nil
	}
	out := map[string]string{}
	for i, key := range keys {
		out[key] = said[i]
	}
	return out
}

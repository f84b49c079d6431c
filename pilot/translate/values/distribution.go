package values

import (
	"strings"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// DistributionAnnotation says like a Service's spec.trafficDistribution which endpoints are preferred: on Services, ServiceEntries, and on namespaces for
// those that say nothing themselves.
const DistributionAnnotation = "networking.istio.io/traffic-distribution"

// Distribution reads a traffic distribution. Near endpoints come before far ones, while they are fit; ones that this version does not know are left
// out. Nil: no preference.
func Distribution(log *report.Log, path, text string) *model.LocalityPolicy {
	keys := []string{model.LabelNetwork, model.LabelRegion, model.LabelZone, model.LabelSubzone}
	switch strings.ToLower(text) {
	case "", "any":
		return nil
	case "preferclose", "prefersamezone":
	case "prefersamenode":
		keys = append(keys, model.LabelHostname)
	default:
		log.Partialf(path, "%q: not implemented by this version; every endpoint is as good as another", text)
		return nil
	}
	out := &model.LocalityPolicy{Always: true}
	for _, key := range keys {
		out.Labels = append(out.Labels, model.LabelPreference{Key: key})
	}
	return out
}

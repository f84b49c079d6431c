package balancing

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// Warmup reads how new endpoints take on traffic by and by.
func Warmup(field string, in *cluster.Cluster_SlowStartConfig) (*upstream.Warmup, error) {
	if in == nil {
		return nil, nil
	}
	field += ".slow_start_config."
	out := &upstream.Warmup{Window: in.GetSlowStartWindow().AsDuration(), Least: 0.1, Aggression: 1}
	if p := in.GetMinWeightPercent(); p != nil {
		out.Least = p.GetValue() / 100
	}
	if a := in.GetAggression(); a != nil {
		out.Aggression = a.GetDefaultValue()
	}
	switch {
	case out.Window < time.Millisecond:
		return nil, values.Wrong(field+"slow_start_window", "%s is less than 1ms", out.Window)
	case !(out.Aggression > 0):
		return nil, values.Wrong(field+"aggression", "%v is not positive", out.Aggression)
	case !(out.Least >= 0 && out.Least <= 1):
		return nil, values.Wrong(field+"min_weight_percent", "%v is no percentage", 100*out.Least)
	}
	return out, nil
}

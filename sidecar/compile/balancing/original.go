package balancing

import (
	"math"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
)

// OriginalPort reads at which port the addresses are dialled that clients choose; 0: at the client's.
func OriginalPort(in *cluster.Cluster) (uint16, error) {
	port := in.GetOriginalDstLbConfig().GetUpstreamPortOverride()
	switch {
	case in.GetOriginalDstLbConfig() != nil && in.GetType() != cluster.Cluster_ORIGINAL_DST:
		return 0, values.Wrong("original_dst_lb_config", "only ORIGINAL_DST has it")
	case port != nil && (port.GetValue() == 0 || port.GetValue() > math.MaxUint16):
		return 0, values.Wrong("original_dst_lb_config.upstream_port_override", "%d is no port", port.GetValue())
	}
	return uint16(port.GetValue()), nil
}

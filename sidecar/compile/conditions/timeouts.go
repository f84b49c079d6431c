package conditions

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// GRPCTimeout reads what grpc-timeout means to a route; nil: nothing. As in Envoy, max_grpc_timeout counts only without max_stream_duration.
func GRPCTimeout(in *routev3.RouteAction) *route.GRPCTimeout {
	if d := in.GetMaxStreamDuration(); d != nil {
		if d.GetGrpcTimeoutHeaderMax() == nil {
			return nil
		}
		return &route.GRPCTimeout{Max: d.GetGrpcTimeoutHeaderMax().AsDuration(), Offset: values.Duration(d.GetGrpcTimeoutHeaderOffset(), 0)}
	}
	//lint:ignore SA1019 istiod says it
	most, offset := in.GetMaxGrpcTimeout(), in.GetGrpcTimeoutOffset()
	if most == nil {
		return nil
	}
	return &route.GRPCTimeout{Max: most.AsDuration(), Offset: values.Duration(offset, 0), Calls: true}
}

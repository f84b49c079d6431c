package routes

import (
	faultcommon "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	faultfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// faultConfig injects failures into a route. A part with a share of zero is left out.
func faultConfig(f *model.Fault) *faultfilter.HTTPFault {
	out := &faultfilter.HTTPFault{}
	if f.Delay > 0 && f.DelayPercent > 0 {
		out.Delay = &faultcommon.FaultDelay{
			FaultDelaySecifier: &faultcommon.FaultDelay_FixedDelay{FixedDelay: message.Duration(f.Delay)}, Percentage: message.Fraction(f.DelayPercent),
		}
	}
	if f.AbortPercent > 0 {
		out.Abort = &faultfilter.FaultAbort{Percentage: message.Fraction(f.AbortPercent)}
		if f.AbortGRPC != nil {
			out.Abort.ErrorType = &faultfilter.FaultAbort_GrpcStatus{GrpcStatus: *f.AbortGRPC}
		} else {
			out.Abort.ErrorType = &faultfilter.FaultAbort_HttpStatus{HttpStatus: f.AbortHTTP}
		}
	}
	return out
}

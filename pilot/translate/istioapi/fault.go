package istioapi

import (
	"strconv"
	"strings"
	"time"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// fault reads an injected fault. Without a percentage nothing is injected.
func (r *reader) fault(path string, f *networking.HTTPFaultInjection) *model.Fault {
	if f == nil {
		return nil
	}
	if f.Delay == nil && f.Abort == nil {
		r.Errorf(path, "delay or abort must be given")
	}
	out := &model.Fault{}
	if d := f.Delay; d != nil {
		out.Delay = values.DurationOr(&r.Log, path+".delay.fixedDelay", d.GetFixedDelay(), 0)
		if out.Delay < time.Millisecond {
			r.Errorf(path+".delay.fixedDelay", "a duration of at least 1ms expected")
		}
		//lint:ignore SA1019 people still write it
		out.DelayPercent = r.percent(path+".delay.percent", float64(d.GetPercent()))
		if d.Percentage != nil {
			out.DelayPercent = r.percent(path+".delay.percentage.value", d.Percentage.Value)
		}
	}
	if a := f.Abort; a != nil {
		out.AbortPercent = r.percent(path+".abort.percentage.value", a.GetPercentage().GetValue())
		r.abort(path+".abort", a, out)
	}
	return out
}

func (r *reader) abort(path string, a *networking.HTTPFaultInjection_Abort, out *model.Fault) {
	switch e := a.ErrorType.(type) {
	case *networking.HTTPFaultInjection_Abort_HttpStatus:
		if e.HttpStatus < 200 || e.HttpStatus > 599 {
			r.Errorf(path+".httpStatus", "%d: a status between 200 and 599 expected", e.HttpStatus)
			return
		}
		out.AbortHTTP = uint32(e.HttpStatus)
	case *networking.HTTPFaultInjection_Abort_GrpcStatus:
		code, ok := grpcCode(e.GrpcStatus)
		if !ok {
			r.Errorf(path+".grpcStatus", "%q is not a gRPC status", e.GrpcStatus)
			return
		}
		out.AbortGRPC = &code
	default:
		r.Errorf(path, "httpStatus or grpcStatus must be given")
	}
}

// grpcCode reads a status by name or number.
func grpcCode(s string) (uint32, bool) {
	names := []string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
		"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}
	for i, name := range names {
		if strings.EqualFold(s, name) || s == strconv.Itoa(i) {
			return uint32(i), true
		}
	}
	return 0, false
}

package reports

import (
	"cmp"
	"fmt"
	"math"

	tracev3 "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tracingv3 "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/format"
)

// Tracing reads which requests are traced and where spans go; nil is off. field is the path of in, environment the proxy's own, which may be nil. Where ignored
// is not nil, a provider or a tag that is not honoured is left out and counted there; else it is an error.
func Tracing(field string, in *hcm.HttpConnectionManager_Tracing, environment func(name string) string, ignored *int) (*exchange.Tracing, error) {
	if in.GetProvider() == nil {
		return nil, nil
	}
	out, err := tracing(field, in)
	if err != nil {
		if ignored == nil {
			return nil, err
		}
		*ignored++
		return nil, nil
	}
	for i, t := range in.GetCustomTags() {
		tag, err := spanTag(fmt.Sprintf("%s.custom_tags[%d]", field, i), t, environment)
		switch {
		case err == nil:
			out.Tags = append(out.Tags, tag)
		case ignored != nil:
			*ignored++
		default:
			return nil, err
		}
	}
	return out, nil
}

// tracing is what Tracing reads, without tags.
func tracing(field string, in *hcm.HttpConnectionManager_Tracing) (*exchange.Tracing, error) {
	provider, at := &tracev3.OpenTelemetryConfig{}, field+".provider.typed_config"
	if err := in.GetProvider().GetTypedConfig().UnmarshalTo(provider); err != nil {
		return nil, values.Wrong(at, "%w", err)
	}
	out := &exchange.Tracing{Sampling: 10_000, MaxTag: int(in.GetMaxPathTagLength().GetValue()), Service: provider.GetServiceName(),
		Target: provider.GetGrpcService().GetGoogleGrpc().GetTargetUri(), Silent: in.GetNoContextPropagation()}
	if s := in.GetRandomSampling(); s != nil {
		out.Sampling = uint32(math.Round(s.GetValue() * 100))
	}
	if out.Target == "" {
		return nil, values.Wrong(at+".grpc_service.google_grpc.target_uri", "it is empty")
	}
	return out, nil
}

func spanTag(field string, in *tracingv3.CustomTag, environment func(name string) string) (exchange.SpanTag, error) {
	tag := exchange.SpanTag{Name: in.GetTag()}
	switch kind := in.GetType().(type) {
	case *tracingv3.CustomTag_Literal_:
		tag.Value = kind.Literal.GetValue()
	case *tracingv3.CustomTag_Environment_:
		if tag.Value = kind.Environment.GetDefaultValue(); environment != nil {
			tag.Value = cmp.Or(environment(kind.Environment.GetName()), tag.Value)
		}
	case *tracingv3.CustomTag_RequestHeader:
		tag.Header, tag.Value = kind.RequestHeader.GetName(), kind.RequestHeader.GetDefaultValue()
	case *tracingv3.CustomTag_Value:
		text, err := format.New(kind.Value, "")
		if err != nil {
			return tag, values.Wrong(field+".value", "%w", err)
		}
		tag.Text = text
	default:
		return tag, values.Wrong(field, "only literal, environment, request_header and value are implemented")
	}
	return tag, nil
}

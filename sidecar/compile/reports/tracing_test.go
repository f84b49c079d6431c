package reports_test

import (
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	trace "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tracing "github.com/envoyproxy/go-control-plane/envoy/type/tracing/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/sidecar/compile/reports"
)

// TestTagsOfTheEnvironment: a variable is read when configuration arrives, once; what the proxy has not, or has empty, is the default.
func TestTagsOfTheEnvironment(t *testing.T) {
	provider, err := anypb.New(&trace.OpenTelemetryConfig{GrpcService: &core.GrpcService{TargetSpecifier: &core.GrpcService_GoogleGrpc_{GoogleGrpc: &core.GrpcService_GoogleGrpc{TargetUri: "otel:4317"}}}})
	if err != nil {
		t.Fatal(err)
	}
	variable := func(name, absent string) *tracing.CustomTag {
		return &tracing.CustomTag{Tag: name, Type: &tracing.CustomTag_Environment_{Environment: &tracing.CustomTag_Environment{Name: name, DefaultValue: absent}}}
	}
	in := &hcm.HttpConnectionManager_Tracing{Provider: &trace.Tracing_Http{ConfigType: &trace.Tracing_Http_TypedConfig{TypedConfig: provider}},
		CustomTags: []*tracing.CustomTag{variable("NODE_NAME", "none"), variable("EMPTY", "default"), variable("ABSENT", "default"), variable("NOTHING", "")}}
	out, err := reports.Tracing("tracing", in, func(name string) string { return map[string]string{"NODE_NAME": "n1"}[name] }, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"n1", "default", "default", ""} {
		if got := out.Tags[i]; got.Value != want || got.Name != in.CustomTags[i].Tag || got.Header != "" || got.Text != nil {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
}

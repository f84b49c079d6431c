package compile

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/dialect"
)

// TestDialectNamesWhatExists holds that no line of the dialect is a slip: each message is linked in, each field is one of its.
func TestDialectNamesWhatExists(t *testing.T) {
	for message, fields := range dialect.New() {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message)
		if err != nil {
			t.Errorf("%s: %v", message, err)
			continue
		}
		for field := range fields {
			if kind.Descriptor().Fields().ByName(field) == nil {
				t.Errorf("%s has no field %s", message, field)
			}
		}
	}
}

// TestEveryOtherFieldIsRefused sets each field of each message of the dialect, one at a time, and holds that those which are not in the
// dialect are refused by name.
func TestEveryOtherFieldIsRefused(t *testing.T) {
	c := dialect.New()
	others(c, func(message protoreflect.FullName, field protoreflect.Name, m proto.Message) {
		if err := c.Check(m); err == nil || err.Error() != string(field)+": not implemented" {
			t.Errorf("%s.%s: %v", message, field, err)
		}
	})
}

// others makes a message of each field that is not in the dialect, of the messages that are.
func others(c dialect.Checker, look func(message protoreflect.FullName, field protoreflect.Name, m proto.Message)) {
	for message, honoured := range c {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message)
		if err != nil {
			continue // TestDialectNamesWhatExists says so
		}
		all := kind.Descriptor().Fields()
		for i := range all.Len() {
			if field := all.Get(i); !honoured[field.Name()] {
				m := kind.New()
				set(m, field)
				look(message, field.Name(), m.Interface())
			}
		}
	}
}

// TestNoDialectTakesAFieldAway holds that this proxy understands whatever a heddled of an older dialect says.
func TestNoDialectTakesAFieldAway(t *testing.T) {
	files, err := filepath.Glob("../../pilot/generate/older/dialects/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no older dialects: %v", err)
	}
	today := dialect.New()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		message := ""
		for _, word := range strings.Fields(string(text)) {
			if name, ok := strings.CutSuffix(word, ":"); ok {
				message = name
			} else if !today[protoreflect.FullName(message)][protoreflect.Name(word)] {
				t.Errorf("%s: %s.%s is refused", filepath.Base(file), message, word)
			}
		}
	}
}

// ignored are fields that nothing reads: statistics, runtime keys, Envoy's own bounds and resource bookkeeping, and what is always so here.
const ignored = `stat_prefix rules_stat_prefix alt_stat_name runtime_key track_remaining max_session_keys cleanup_interval update_frequency
	google_re2 max_direct_response_body_size_bytes ads self resource_api_version transport_api_version initial_fetch_timeout config_source eds_config
	sds_config cluster_name`

// TestEveryHonouredFieldIsRead holds that the dialect lists no field that nothing reads: what is set must have its effect or be refused.
func TestEveryHonouredFieldIsRead(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.go", "balancing/*.go", "checks/*.go", "conditions/*.go", "filters/*.go", "permissions/*.go", "reports/*.go", "values/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	read := map[string]bool{}
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	use := regexp.MustCompile(`\bGet(\w+)\(|\b[A-Z]\w*?_([A-Z]\w*)`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range use.FindAllStringSubmatch(string(source), -1) {
			read[plain(m[1]+m[2])] = true
			read[plain(m[2][strings.LastIndexByte(m[2], '_')+1:])] = true
		}
	}
	for message, fields := range dialect.New() {
		for field := range fields {
			if !read[plain(string(field))] && !slices.Contains(strings.Fields(ignored), string(field)) {
				t.Errorf("%s.%s is accepted and nothing reads it", message, field)
			}
		}
	}
}

// set gives a field some value that is not its default.
func set(m protoreflect.Message, field protoreflect.FieldDescriptor) {
	switch {
	case field.IsMap():
		value := m.NewField(field)
		value.Map().Set(protoreflect.ValueOfString("x").MapKey(), value.Map().NewValue())
		m.Set(field, value)
	case field.IsList():
		value := m.NewField(field)
		value.List().Append(value.List().NewElement())
		m.Set(field, value)
	case field.Message() != nil:
		m.Set(field, m.NewField(field))
	default:
		m.Set(field, scalar(field))
	}
}

func scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(1)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(1)
	}
	return protoreflect.ValueOfFloat64(1)
}

// TestForeignControlPlanes: of what the proxy does not honour, it refuses what may concern security, and counts the rest.
func TestForeignControlPlanes(t *testing.T) {
	const check = "{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}"
	const httpProtocol = "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, " +
		"common_http_protocol_options: {%s}, explicit_http_config: {http_protocol_options: {}}}}"
	listener := listenerText("l", "80", "1")
	cluster := func(more string) string {
		return strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\n"+more, 1)
	}
	retrying := func(policy string) string {
		return strings.Replace(routesText("80", "c"), "cluster: c", "cluster: c, retry_policy: {"+policy+"}", 1)
	}
	for name, c := range map[string]struct {
		text    string
		ignored int
		refused string
	}{
		"connecting early":        {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\npreconnect_policy: {}", 1), 1, ""},
		"limits of high priority": {cluster("circuit_breakers: {thresholds: [{priority: HIGH, max_requests: 7}, {max_requests: 3}]}"), 1, ""},
		"ejection by a share":     {cluster("outlier_detection: {enforcing_consecutive_5xx: 50, enforcing_success_rate: 0}"), 1, ""},
		"ejection by statistics":  {cluster("outlier_detection: {enforcing_success_rate: 100, enforcing_failure_percentage: 5}"), 2, ""},
		"two health checks":       {cluster("health_checks: [" + check + ", " + check + "]"), 1, ""},
		"another hash":            {cluster("lb_policy: RING_HASH\nring_hash_lb_config: {hash_function: MURMUR_HASH_2}"), 1, ""},
		"bounds of an upstream":   {cluster(fmt.Sprintf(httpProtocol, "max_stream_duration: 5s, headers_with_underscores_action: REJECT_REQUEST")), 2, ""},
		"when to try again":       {retrying("retry_on: \"5xx,never\""), 1, ""},
		"where to try again": {retrying("retry_on: \"5xx\", retry_host_predicate: [{name: envoy.retry_host_predicates.omit_canary_hosts}], " +
			"retry_priority: {name: x}"), 2, ""},
		"a resource's own name servers":   {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\ndns_resolvers: [{socket_address: {address: 10.0.0.1, port_value: 53}}]", 1), 0, "dns_resolvers"},
		"servers and how they are asked":  {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\ndns_resolution_config: {}", 1), 0, "dns_resolution_config"},
		"what resolves":                   {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\ntyped_dns_resolver_config: {name: x}", 1), 0, "typed_dns_resolver_config"},
		"how names are resolved":          {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\nuse_tcp_for_dns_lookups: true", 1), 0, "use_tcp_for_dns_lookups"},
		"connections that are not shared": {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\nconnection_pool_per_downstream_connection: true", 1), 0, "connection_pool_per"},
		"what carries requests":           {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\nupstream_config: {name: x}", 1), 0, "upstream_config"},
		"options of sockets":              {strings.Replace(listener, "name: l\n", "name: l\nsocket_options: [{level: 1, name: 2, int_value: 3}]\n", 1), 0, "socket_options"},
		"bounds of floods":                {strings.Replace(listener, "rds:", "http2_protocol_options: {max_outbound_frames: 10}, rds:", 1), 0, "http2_protocol_options.max_outbound_frames"},
		"how a cluster warms and buffers": {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\nwait_for_warm_on_init: true\nper_connection_buffer_limit_bytes: 5", 1), 2, ""},
		"how a listener drains":           {strings.Replace(listener, "name: l\n", "name: l\ndrain_type: MODIFY_ONLY\n", 1), 1, ""},
		"matching":                        {strings.Replace(listener, "destination_port: 81", "destination_port: 81, source_type: EXTERNAL", 1), 0, "source_type"},
		"certificates":                    {strings.Replace(clusterText("a", "1s"), "sni: x", "sni: x, allow_renegotiation: true", 1), 0, "allow_renegotiation"},
		"a filter that is not known":      {strings.Replace(listener, "{name: r,", "{name: s, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.common.fault.v3.FaultRateLimit}}, {name: r,", 1), 0, "FaultRateLimit"},
	} {
		foreign := newCompiler()
		foreign.options.Foreign = true
		refused := fmt.Sprint(apply(t, foreign, c.text))
		if foreign.Ignored() != c.ignored || (c.refused == "") != (refused == "map[]") || !strings.Contains(refused, c.refused) {
			t.Errorf("%s: ignored %d, refused %s", name, foreign.Ignored(), refused)
		}
		own := newCompiler()
		if refused := apply(t, own, c.text); len(refused) != 1 || own.Ignored() != 0 {
			t.Errorf("%s: from Heddle, ignored %d, refused %v", name, own.Ignored(), refused)
		}
	}
}

// TestForeignDefaults: what Envoy does where nothing is said is counted, too, and what it does differently is not done.
func TestForeignDefaults(t *testing.T) {
	c := newCompiler()
	c.options.Foreign = true
	text := strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\noutlier_detection: {split_external_local_origin_errors: true, enforcing_consecutive_5xx: 1}\n"+
		"circuit_breakers: {thresholds: [{max_requests: 3}, {priority: HIGH, max_requests: 7}]}", 1)
	if refused := apply(t, c, text); len(refused) > 0 {
		t.Fatal(refused)
	}
	apply(t, c, endpointsText("a", "10.0.0.1"))
	made := c.clusters["a"].made
	if c.Ignored() != 4 || made.Outlier.Consecutive5xx != 5 || made.Outlier.ConsecutiveGateway != 0 || made.Limits.Requests != 3 {
		t.Errorf("ignored %d, made %+v, %+v", c.Ignored(), made.Outlier, made.Limits)
	}
}

// TestForeignNewFields: a field of a newer version is left out where it can be about pace only, and refuses the resource anywhere else.
func TestForeignNewFields(t *testing.T) {
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 5000, protowire.VarintType), 1)
	outlier, retry, tls, match := &clusterv3.OutlierDetection{EnforcingSuccessRate: wrapperspb.UInt32(0)}, &routev3.RetryPolicy{}, &tlsv3.UpstreamTlsContext{}, &routev3.RouteMatch{}
	for _, m := range []proto.Message{outlier, retry, tls, match} {
		m.ProtoReflect().SetUnknown(unknown)
	}
	for _, m := range []proto.Message{outlier, retry} {
		if err := dialect.New().Check(m); err == nil {
			t.Errorf("%T of Heddle's is taken", m)
		}
		if ignored, err := dialect.New().CheckForeign(m); err != nil || ignored != 1 || len(m.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%T: ignored %d, refused: %v", m, ignored, err)
		}
	}
	for _, m := range []proto.Message{tls, match} {
		if _, err := dialect.New().CheckForeign(m); err == nil {
			t.Errorf("%T is taken", m)
		}
	}
}

// TestSecretsOfAnAgent holds which files stand for secrets of Istio's agent, and that others have no such names.
func TestSecretsOfAnAgent(t *testing.T) {
	for _, c := range []struct {
		cluster, name string
		want          dialect.Files
		ok            bool
	}{
		{"sds-grpc", "file-cert:/a/chain.pem~/a/key.pem", dialect.Files{Chain: "/a/chain.pem", Key: "/a/key.pem"}, true},
		{"sds-grpc", "file-root:/a/root.pem", dialect.Files{Roots: "/a/root.pem"}, true},
		{"sds-grpc", "file-root:system", dialect.Files{}, true},
		{"sds-grpc", "file-root:", dialect.Files{}, false},
		{"sds-grpc", "file-root:/a~/b", dialect.Files{}, false},
		{"sds-grpc", "file-cert:/a/chain.pem", dialect.Files{}, false},
		{"sds-grpc", "file-cert:~/a/key.pem", dialect.Files{}, false},
		{"sds-grpc", "kubernetes://shop", dialect.Files{}, false},
		{"other", "file-root:system", dialect.Files{}, false},
		{"", "file-root:system", dialect.Files{}, false},
	} {
		s := &tlsv3.SdsSecretConfig{Name: c.name, SdsConfig: &corev3.ConfigSource{}}
		if c.cluster != "" {
			s.SdsConfig.ConfigSourceSpecifier = &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{GrpcServices: []*corev3.GrpcService{
				{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: c.cluster}}}}}}
		}
		if got, ok := dialect.Agent(s); ok != c.ok || ok && got != c.want {
			t.Errorf("%s of %q: %+v, %v", c.name, c.cluster, got, ok)
		}
	}
}

// TestForeignFieldsAreRefusedUnlessNamed sets each field of each message of the dialect that is not honoured: a foreign control plane's is refused unless it is
// named as harmless, so that one which the API gets is refused until somebody has thought about it.
func TestForeignFieldsAreRefusedUnlessNamed(t *testing.T) {
	c, harmless := dialect.New(), dialect.Harmless()
	for message, fields := range harmless {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message)
		if err != nil {
			t.Errorf("%s: %v", message, err)
			continue
		}
		for field := range fields {
			if kind.Descriptor().Fields().ByName(field) == nil || c[message] == nil || c[message][field] {
				t.Errorf("%s.%s does not exist, or is honoured, or its message never is", message, field)
			}
		}
	}
	others(c, func(message protoreflect.FullName, field protoreflect.Name, m proto.Message) {
		ignored, err := c.CheckForeign(m)
		if named := harmless[message][field]; named != (err == nil) || named != (ignored > 0) {
			t.Errorf("%s.%s: ignored %d, refused: %v", message, field, ignored, err)
		}
	})
}

// TestForeignExtensions: filters that only measure and access loggers are left out of what a foreign control plane sends, whatever they are wrapped in, and
// limits wider than those here are these. All other filters that are not known refuse their listener.
func TestForeignExtensions(t *testing.T) {
	extension := func(name string) *anypb.Any { return &anypb.Any{TypeUrl: "type.googleapis.com/" + name} }
	wrapped := func(by, name string) *anypb.Any {
		out := extension(by)
		out.Value = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "type.googleapis.com/"+name)
		return out
	}
	build := func(filter *anypb.Any) wire.Resource {
		changed, _ := resources(t, listenerText("l", "80", "1"))
		var l listenerv3.Listener
		var h hcm.HttpConnectionManager
		if err := proto.Unmarshal(changed[0].Body, &l); err != nil {
			t.Fatal(err)
		}
		chain := l.GetFilterChains()[0]
		if err := chain.GetFilters()[0].GetTypedConfig().UnmarshalTo(&h); err != nil {
			t.Fatal(err)
		}
		h.MaxRequestHeadersKb = wrapperspb.UInt32(96)
		h.AccessLog = []*accesslogv3.AccessLog{{Name: "o", ConfigType: &accesslogv3.AccessLog_TypedConfig{
			TypedConfig: extension("envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig")}}}
		h.HttpFilters = append([]*hcm.HttpFilter{{Name: "f", ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: filter}}}, h.GetHttpFilters()...)
		var err error
		if chain.GetFilters()[0].ConfigType.(*listenerv3.Filter_TypedConfig).TypedConfig, err = anypb.New(&h); err != nil {
			t.Fatal(err)
		}
		chain.Filters = append([]*listenerv3.Filter{{Name: "m", ConfigType: &listenerv3.Filter_TypedConfig{
			TypedConfig: extension("envoy.tcp.metadataexchange.config.MetadataExchange")}}}, chain.GetFilters()...)
		return resource(t, &l)
	}
	const metadata = "io.istio.http.peer_metadata.Config"
	for name, c := range map[string]struct {
		filter *anypb.Any
		taken  bool
	}{
		"statistics":          {extension("stats.PluginConfig"), true},
		"metadata":            {wrapped("udpa.type.v1.TypedStruct", metadata), true},
		"metadata, newer":     {wrapped("xds.type.v3.TypedStruct", metadata), true},
		"wrapped in nothing":  {wrapped("x", metadata), false},
		"authorization":       {extension("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"), false},
		"authorization, too":  {wrapped("xds.type.v3.TypedStruct", "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"), false},
		"a logger as filter":  {extension("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"), false},
		"nothing in a struct": {extension("xds.type.v3.TypedStruct"), false},
	} {
		l := newCompiler()
		l.options.Foreign = true
		refused := l.Apply(wire.TypeListener, []wire.Resource{build(c.filter)}, nil)
		if (len(refused) == 0) != c.taken {
			t.Errorf("%s: refused: %v", name, refused)
		}
		if !c.taken {
			continue
		}
		l.Apply(wire.TypeRoute, nil, []string{"80"})
		if got := l.Config().Listeners; l.Ignored() != 3 || len(got) != 1 || got[0].Chains[0].HTTP.MaxHead != 96<<10 || len(got[0].Chains[0].HTTP.Filters) != 0 {
			t.Errorf("%s: ignored %d, made %+v", name, l.Ignored(), got)
		}
	}
}

package compile

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

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
	for message, honoured := range c {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(message)
		if err != nil {
			continue // said above
		}
		all := kind.Descriptor().Fields()
		for i := range all.Len() {
			field := all.Get(i)
			if honoured[field.Name()] {
				continue
			}
			m := kind.New()
			set(m, field)
			if err := c.Check(m.Interface()); err == nil || err.Error() != string(field.Name())+": not implemented" {
				t.Errorf("%s.%s: %v", message, field.Name(), err)
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
	for _, pattern := range []string{"*.go", "values/*.go", "filters/*.go", "permissions/*.go", "reports/*.go"} {
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
	listener := listenerText("l", "80", "1")
	for name, c := range map[string]struct {
		text    string
		ignored int
		refused string
	}{
		"what is called a policy":         {strings.Replace(clusterText("a", "1s"), "type: EDS", "type: EDS\npreconnect_policy: {}", 1), 0, "preconnect_policy"},
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

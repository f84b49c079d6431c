// Package dump writes the model as text for people: golden tests and debug pages. Zero values are left out. It knows nothing of
// what the fields mean.
package dump

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Value writes any value of the model: one line where it fits, otherwise one line for each field or item.
func Value(v any) string {
	var b strings.Builder
	for _, line := range lines(reflect.ValueOf(v)) {
		b.WriteString(line + "\n")
	}
	return b.String()
}

const width = 140

// lines writes a value. More than one line means that it is nested.
func lines(v reflect.Value) []string {
	if short := inline(v); len(short) <= width {
		if short == "" {
			return nil
		}
		return []string{short}
	}
	v = indirect(v)
	var out []string
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			out = append(out, named(v.Type().Field(i).Name, v.Field(i))...)
		}
	case reflect.Map:
		for _, k := range keys(v) {
			out = append(out, named(fmt.Sprint(k), v.MapIndex(k))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			for j, l := range lines(v.Index(i)) {
				out = append(out, []string{"- ", "  "}[min(j, 1)]+l)
			}
		}
	default:
		out = []string{inline(v)}
	}
	return out
}

func named(name string, v reflect.Value) []string {
	sub := lines(v)
	switch {
	case len(sub) == 0 || isEmpty(v):
		return nil
	case len(sub) == 1 && !strings.HasPrefix(sub[0], "- "):
		return []string{name + ": " + sub[0]}
	}
	out := []string{name + ":"}
	for _, l := range sub {
		out = append(out, "  "+l)
	}
	return out
}

func indirect(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		v = v.Elem()
	}
	return v
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return v.IsNil()
	case reflect.Map, reflect.Slice:
		return v.IsNil()
	}
	return v.IsZero()
}

func keys(v reflect.Value) []reflect.Value {
	ks := v.MapKeys()
	slices.SortFunc(ks, func(a, b reflect.Value) int {
		if a.CanUint() {
			return int(a.Uint()) - int(b.Uint())
		}
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	return ks
}

// inline writes a value on one line.
func inline(v reflect.Value) string {
	v = indirect(v)
	if !v.IsValid() {
		return ""
	}
	if text, ok := special(v); ok {
		return text
	}
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); !isEmpty(f) {
				parts = append(parts, v.Type().Field(i).Name+": "+inline(f))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Map:
		for _, k := range keys(v) {
			parts = append(parts, fmt.Sprintf("%v: %s", k, inline(v.MapIndex(k))))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, inline(v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.String:
		if s := v.String(); s != "" && !strings.ContainsAny(s, " ,:{}[]\"\n") {
			return s
		}
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}

// special writes values that have a form of their own.
func special(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String(), true
	case []byte:
		return fmt.Sprintf("%q", x), true
	case model.Name:
		return x.String(), true
	case spiffe.Identity:
		return x.String(), true
	case model.StringMatch:
		return stringMatch(x), true
	case model.Visibility:
		if x.Public {
			return "*", true
		}
		return fmt.Sprint(x.Namespaces), true
	}
	if names, ok := enums()[v.Type()]; ok && v.Uint() < uint64(len(names)) {
		return names[v.Uint()], true
	}
	return "", false
}

func stringMatch(m model.StringMatch) string {
	kind := [...]string{"exact", "prefix", "suffix", "regex", "present", "pathPrefix", "template", "nonEmpty"}[m.Kind]
	if m.IgnoreCase {
		kind += "/i"
	}
	return fmt.Sprintf("%s(%s)", kind, m.Value)
}

func enums() map[reflect.Type][]string {
	return map[reflect.Type][]string{
		reflect.TypeFor[model.Protocol]():          {"unknown", "http", "http2", "grpc", "grpc-web", "https", "tls", "tcp", "mongo", "mysql", "redis", "udp"},
		reflect.TypeFor[model.Resolution]():        {"endpoints", "headless", "passthrough", "dns", "dns-round-robin", "alias", "named"},
		reflect.TypeFor[model.Balancer]():          {"least-request", "round-robin", "random", "passthrough", "ring-hash", "maglev"},
		reflect.TypeFor[model.ProxyProtocol]():     {"none", "v1", "v2"},
		reflect.TypeFor[model.TLSMode]():           {"disable", "simple", "mutual", "istio-mutual", "refused"},
		reflect.TypeFor[model.ServerTLSMode]():     {"simple", "mutual", "optional-mutual", "passthrough", "istio-mutual", "auto-passthrough"},
		reflect.TypeFor[model.MTLSMode]():          {"unset", "disable", "permissive", "strict"},
		reflect.TypeFor[model.Action]():            {"allow", "deny"},
		reflect.TypeFor[model.Health]():            {"healthy", "unhealthy", "draining"},
		reflect.TypeFor[model.DerivePort]():        {"from-protocol", "from-request"},
		reflect.TypeFor[model.PathNormalization](): {"base", "none", "merge-slashes", "decode-and-merge-slashes"},
		reflect.TypeFor[model.ConditionKey](): {"header", "source.ip", "remote.ip", "source.namespace", "source.serviceAccount", "source.trustDomain",
			"source.principal", "destination.ip", "destination.port", "connection.sni", "metadata"},
	}
}

package compile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/match"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// dump prints a value's non-zero exported fields as indented lines. What is opaque prints what it was made of.
func dump(v any) string {
	var d dumper
	d.value(0, "", reflect.ValueOf(v))
	return d.String()
}

type dumper struct{ strings.Builder }

func (d *dumper) line(depth int, name, format string, args ...any) {
	fmt.Fprintf(d, "%s%s", strings.Repeat("  ", depth), name)
	if text := fmt.Sprintf(format, args...); text != "" {
		fmt.Fprintf(d, ": %s", text)
	}
	d.WriteByte('\n')
}

// text is how values that are not walked print.
func text(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case match.String:
		return x.Text(), true
	case *mtls.Secret:
		return "secret " + x.Name(), true
	case mtls.Certificate:
		return "workload", true
	case mtls.Verifier:
		return "mesh", true
	case interface{ Config() any }:
		return "", false
	case fmt.Stringer:
		return x.String(), true
	}
	return "", false
}

func (d *dumper) value(depth int, name string, v reflect.Value) {
	if !v.IsValid() || v.IsZero() {
		return
	}
	if s, ok := text(v); ok {
		d.line(depth, name, "%s", s)
		return
	}
	if m := v.MethodByName("Config"); m.IsValid() && m.Type().NumIn() == 0 {
		d.line(depth, name, "%s", strings.TrimPrefix(v.Type().String(), "*"))
		d.value(depth, name, m.Call(nil)[0])
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.Elem().Kind() == reflect.Struct && v.Elem().IsZero() {
			d.line(depth, name, "zero")
			return
		}
		d.value(depth, name, v.Elem())
	case reflect.Struct:
		d.fields(depth, name, v)
	case reflect.Slice:
		d.slice(depth, name, v)
	case reflect.Map:
		d.line(depth, name, "")
		for _, k := range slices.SortedFunc(maps.Keys(keys(v)), strings.Compare) {
			d.value(depth+1, k, v.MapIndex(keys(v)[k]))
		}
	case reflect.String:
		d.line(depth, name, "%q", v.Interface())
	default:
		d.line(depth, name, "%v", v.Interface())
	}
}

func keys(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		out[k.String()] = k
	}
	return out
}

func (d *dumper) fields(depth int, name string, v reflect.Value) {
	if name != "" {
		d.line(depth, name, "")
		depth++
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && f.Name != "Password" {
			d.value(depth, f.Name, v.Field(i))
		}
	}
}

func (d *dumper) slice(depth int, name string, v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		d.line(depth, name, "%q", v.Bytes())
		return
	}
	if k := v.Type().Elem().Kind(); k == reflect.String || k == reflect.Int || k == reflect.Uint16 {
		d.line(depth, name, "%v", v.Interface())
		return
	}
	for i := range v.Len() {
		if s, ok := text(v.Index(i)); ok {
			d.line(depth, name, "%s", s)
			continue
		}
		if v.Index(i).Kind() == reflect.Struct && v.Index(i).IsZero() {
			d.line(depth, name, "zero")
			continue
		}
		d.value(depth, name, v.Index(i))
	}
}

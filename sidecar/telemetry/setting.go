package telemetry

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/condition"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// longest is how much of a label's value that a request makes is kept, bytes.
const longest = 256

// separator stands between names and values of labels that have been set.
const separator = "\x00"

// settings make labels of what they ask of a request. They are immutable.
type settings struct{ list []setting }

type setting struct {
	label string
	value *condition.Expression
	asks  *asking
}

// newSettings compiles expressions by label.
func newSettings(expressions map[string]string) (exchange.LabelSetter, error) {
	out := &settings{}
	for _, label := range slices.Sorted(maps.Keys(expressions)) {
		if !wire.MetricLabel(label) {
			return nil, fmt.Errorf("%q cannot be a label", label)
		}
		value, err := condition.ParseText(expressions[label])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label, err)
		}
		asks, err := newAsking(value.Attributes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label, err)
		}
		out.list = append(out.list, setting{label, value, asks})
	}
	return out, nil
}

// Append implements exchange.LabelSetter: names and values, each with a separator behind it. What a request does not have is unknown.
func (s *settings) Append(dst []byte, x *exchange.Exchange) []byte {
	for i := range s.list {
		one := &s.list[i]
		dst = append(append(dst, one.label...), separator...)
		begin := len(dst)
		q := one.asks.of(x)
		out, ok := one.value.Append(dst, q)
		q.done()
		if dst = out; !ok {
			dst = append(dst[:begin], unknown...)
		}
		dst = append(dst[:begin], clean(dst[begin:])...)
		dst = append(dst, separator...)
	}
	return dst
}

// clean is what of a value can stand in a label: what is no text in UTF-8, or separates, is left out.
func clean(v []byte) []byte {
	v = v[:min(len(v), longest)]
	if bytes.IndexByte(v, 0) >= 0 {
		v = bytes.ReplaceAll(v, []byte(separator), nil)
	}
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, nil)
	}
	return v
}

// set lays labels that a request has made over all others.
func (l *Labels) set(made string) {
	names, own := wire.MetricLabels(), []string(nil)
	for made != "" {
		var name, value string
		name, made, _ = strings.Cut(made, separator)
		value, made, _ = strings.Cut(made, separator)
		if i := slices.Index(names, name); i >= 0 {
			l[i] = value
			continue
		}
		own = append(own, name, value)
	}
	if len(own) > 0 {
		l[ownLabels] = strings.Join(own, separator)
	}
}

// Values are the values of the labels that LabelNames names, in its order.
func (l *Labels) Values() []string { return l[:ownLabels] }

// Own are the labels that the mesh's users have added.
func (l *Labels) Own() (names, values []string) {
	if l[ownLabels] == "" {
		return nil, nil
	}
	for i, part := range strings.Split(l[ownLabels], separator) {
		if i%2 == 0 {
			names = append(names, part)
		} else {
			values = append(values, part)
		}
	}
	return names, values
}

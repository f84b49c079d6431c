package differential

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// outcome is all that can be compared of a case: facts by name, such as "answer 1 header server".
type outcome struct {
	summary string
	facts   map[string]string
}

// difference is a fact on which the proxies do not agree.
type difference struct {
	Case, What, Envoy, Heddle string
}

// Values that differ from one run to the next, and the pairs of x-forwarded-client-cert.
var (
	uuid     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	pairs    = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|[^;,]*)`)
	changing = []string{"date", "x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms", "sec-websocket-key"}
)

// fields adds a head's fields: names in lower case, values of a repeated name in their order.
func (o *outcome) fields(prefix string, lines []string) {
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			name, value = "(no name)", l
		}
		name = strings.ToLower(name)
		value = caseID.ReplaceAllString(uuid.ReplaceAllString(strings.TrimSpace(value), "UUID"), "ID")
		if slices.Contains(changing, name) {
			value = "*"
		}
		key := prefix + " " + name
		if name == "x-forwarded-client-cert" { // a fact for each pair: what may differ in one must agree in the others
			o.pairs(key, value)
			value = pairs.ReplaceAllString(value, "$1")
		}
		if before, there := o.facts[key]; there {
			value = before + " | " + value
		}
		o.facts[key] = value
	}
}

func (o *outcome) pairs(key, value string) {
	n := 1
	for _, pair := range pairs.FindAllString(value, -1) {
		for o.facts[fmt.Sprintf("%s pair %d", key, n)] != "" { // of a line before
			n++
		}
		o.facts[fmt.Sprintf("%s pair %d", key, n)] = pair
	}
}

func (o *outcome) set(key, value string) {
	if value != "" {
		o.facts[key] = caseID.ReplaceAllString(value, "ID")
	}
}

// outcomeOf gathers the facts of a case.
func outcomeOf(answers []answer, fate string, arrivals []arrival) outcome {
	o := outcome{facts: map[string]string{"connection": fate}}
	var said []string
	for i, a := range answers {
		n := fmt.Sprintf("answer %d", i+1)
		o.set(n, a.line)
		o.fields(n+" header", a.lines)
		o.set(n+" body", a.body)
		o.fields(n+" trailer", a.tail)
		o.set(n+" ends", a.cut)
		line := strings.Fields(a.line + " - -")
		if strings.HasPrefix(line[0], "HTTP/") {
			line = line[1:]
		}
		said = append(said, line[0])
	}
	var got []string
	for i, a := range arrivals {
		n := fmt.Sprintf("request %d", i+1)
		o.set(n, a.line)
		o.set(n+" to", a.to)
		o.fields(n+" header", a.lines)
		got = append(got, strings.Join(strings.Fields(a.line)[:1], " "))
		o.set(n+" body", a.body)
		o.fields(n+" trailer", a.tail)
	}
	o.summary = "no answer"
	if len(said) > 0 {
		o.summary = "answers " + strings.Join(said, ", ")
	}
	if len(got) == 0 {
		o.summary += "; nothing reaches the upstream"
	} else {
		o.summary += "; the upstream gets " + strings.Join(got, ", ")
	}
	return o
}

// compare lists how two outcomes differ. Where one proxy refuses what the other passes on, that is one difference, not one for each field.
func compare(name string, envoy, heddle outcome) []difference {
	if envoy.summary != heddle.summary {
		return []difference{{name, "outcome", envoy.summary, heddle.summary}}
	}
	keys := maps.Clone(envoy.facts)
	maps.Copy(keys, heddle.facts)
	var out []difference
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		e, inEnvoy := envoy.facts[key]
		h, inHeddle := heddle.facts[key]
		if e == h && inEnvoy == inHeddle {
			continue
		}
		e, h = short(e, h)
		if !inEnvoy {
			e = "(none)"
		}
		if !inHeddle {
			h = "(none)"
		}
		out = append(out, difference{name, key, e, h})
	}
	return out
}

// short leaves of two long values what is around their first difference.
func short(a, b string) (string, string) {
	const around = 150
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	cut := func(v string) string {
		if from := max(0, same-around); len(v) > 2*around && from > 0 {
			v = "..." + v[from:]
		}
		return v[:min(len(v), 2*around)]
	}
	return cut(a), cut(b)
}

func (o outcome) String() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(o.facts)) {
		v := o.facts[key]
		if len(v) > 300 {
			v = v[:300] + "..."
		}
		fmt.Fprintf(&b, "  %s: %q\n", key, v)
	}
	return b.String()
}

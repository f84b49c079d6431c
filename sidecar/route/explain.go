package route

import (
	"fmt"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Asked is a route that a request was compared with.
type Asked struct {
	Route  *Route
	Missed string // the first condition that the request does not meet, in words; "": the route takes it
}

// Explain is Match with its reasons: the virtual host, and its routes up to the one that takes x.
func (t *Table) Explain(x *exchange.Exchange) (*VirtualHost, []Asked) {
	v := t.host(x.Request.Authority)
	if v == nil {
		return nil, nil
	}
	var out []Asked
	path, query := splitPath(x.Request.Path)
	for _, r := range v.routes {
		m := r.match.miss(x, path, query)
		out = append(out, Asked{r, r.match.words(m, x, path, query)})
		if m.part == met {
			break
		}
	}
	return v, out
}

// Share is what part of a route's requests a target gets: 0 to 1.
func (r *Route) Share(t *Target) float64 {
	if r.total == 0 {
		return 0
	}
	return float64(t.weight) / float64(r.total)
}

// Targets are a route's clusters; none where it answers by itself.
func (r *Route) Targets() []*Target { return r.clusters }

// words say which condition was missed, and what there was instead.
func (m *matcher) words(at miss, x *exchange.Exchange, path, query exchange.View) string {
	switch at.part {
	case missPath:
		return m.pathWords(x, path)
	case missGRPC:
		return "it is for gRPC requests only"
	case missHeader:
		return m.headers[at.index].words(&x.Request)
	case missQuery:
		q := &m.query[at.index]
		v, found := q.find(query)
		return fmt.Sprintf("query parameter %s: %s", q.name, missed(&q.value, v, found, false))
	case missFraction:
		return fmt.Sprintf("it takes %g%% of requests, and this time not this one", float64(*m.fraction)/10_000)
	}
	return ""
}

func (m *matcher) pathWords(x *exchange.Exchange, path exchange.View) string {
	if m.kind == ConnectRequests {
		return fmt.Sprintf("method: want CONNECT, not %s", x.Request.Method)
	}
	kind := [...]string{Prefix: "prefix", Exact: "exact", SegmentPrefix: "path prefix", Regex: "regex"}[m.kind]
	if m.fold {
		kind += " (any case)"
	}
	return fmt.Sprintf("path: %s %q did not match %q", kind, m.path, path)
}

func (m *headerMatcher) words(h *exchange.Head) string {
	name := "header " + m.Name
	if m.Name != "" && m.Name[0] == ':' {
		name = m.Name[1:]
	}
	v, found := lookup(h, m.Name)
	return name + ": " + missed(&m.value, v, found, m.Invert || m.Absent)
}

// missed says how a value differs from what is wanted of it.
func missed(want *stringMatcher, v exchange.View, found, inverted bool) string {
	switch text := want.value.Text(); {
	case want.present && inverted:
		return "it must not be there, and is"
	case want.present || !found && !inverted:
		return "it is missing"
	case inverted:
		return fmt.Sprintf("%s must not match, and does: %q", spaced(text), v)
	default:
		return fmt.Sprintf("%s did not match %q", spaced(text), v)
	}
}

// spaced turns exact:value into exact "value".
func spaced(text string) string {
	rest, fold := strings.CutPrefix(text, "i:")
	kind, value, _ := strings.Cut(rest, ":")
	if fold {
		kind += " (any case)"
	}
	return fmt.Sprintf("%s %q", kind, value)
}

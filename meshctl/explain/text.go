package explain

import (
	"fmt"
	"io"
	"strings"
)

// mostEndpoints and mostRules are how many are told of; programs are told of all.
const (
	mostEndpoints = 10
	mostRules     = 30
)

// page writes lines, indented.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(depth int, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, strings.Repeat("  ", depth)+format+"\n", args...)
	}
}

// field writes a name and its value, in columns.
func (p *page) field(depth int, name, format string, args ...any) {
	p.line(depth, "%-15s %s", name, fmt.Sprintf(format, args...))
}

// Text writes an explanation for people.
func (e *Explanation) Text(w io.Writer) error {
	p := &page{w: w}
	p.line(0, "%s from %s", e.Request, e.Client)
	if e.Lookup != "" {
		p.line(1, "%s", e.Lookup)
	}
	if e.Hop != nil {
		p.hop(0, e.Hop)
	}
	p.verdict(e.Verdict)
	return p.err
}

func (p *page) verdict(v Verdict) {
	p.line(0, "")
	switch {
	case v.Succeeds:
		p.line(0, "VERDICT  succeeds: %s", v.Reason)
	case v.Fails < 0.999:
		p.line(0, "VERDICT  fails for %s of the requests%s: %s", percent(v.Fails), mark(v), v.Reason)
	default:
		p.line(0, "VERDICT  fails%s: %s", mark(v), v.Reason)
	}
	if v.Where != "" && !v.Succeeds {
		p.line(0, "         decided by %s", v.Where)
	}
	if v.Advice != "" {
		p.line(0, "         to change it: %s", v.Advice)
	}
}

// mark is a verdict's status and flag: " (403 RBAC)".
func mark(v Verdict) string {
	var parts []string
	if v.Status != 0 {
		parts = append(parts, fmt.Sprint(v.Status))
	}
	if v.Flag != "" {
		parts = append(parts, v.Flag)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, " ") + ")"
}

func percent(share float64) string { return fmt.Sprintf("%.3g%%", share*100) }

func (p *page) hop(depth int, h *Hop) {
	title := strings.ToUpper(h.Side) + " " + h.Pod
	if h.Pod == "" {
		title = strings.ToUpper(h.Side) + " " + h.Address
	} else if h.Side != "client" {
		title += " at " + h.Address
	}
	if h.Like > 0 {
		title += fmt.Sprintf(", and %d more like it", h.Like)
	}
	if h.Share < 0.999 {
		title += ", " + percent(h.Share) + " of the requests"
	}
	p.line(depth, "%s", title)
	depth++
	if d := h.Demands; d != nil {
		p.field(depth, "mutual TLS", "%s on port %d, by %s", d.Mode, d.Port, d.By)
	}
	if h.Listener != "" {
		p.field(depth, "listener", "%s", h.Listener)
	}
	for _, n := range h.Notes {
		p.field(depth, "note", "%s", n)
	}
	p.chain(depth, h.Chain)
	if h.Identity != "" {
		p.field(depth, "client is", "%s", h.Identity)
	}
	for _, j := range h.Policies {
		p.judgement(depth, j)
	}
	p.host(depth, h)
	p.route(depth, h.Route)
	for _, t := range h.Targets {
		p.target(depth, t)
	}
	if h.End != nil {
		p.end(depth, *h.End)
	}
}

func (p *page) end(depth int, v Verdict) {
	if v.Succeeds {
		p.field(depth, "ends", "%s", v.Reason)
		return
	}
	p.field(depth, "FAILS", "%s%s", v.Reason, mark(v))
}

func (p *page) chain(depth int, c *Chain) {
	if c == nil {
		return
	}
	for _, n := range c.Passed {
		p.field(depth, "filter chain", "not \"%s\": %s", n.What, n.Why)
	}
	if c.Of == "" {
		return
	}
	text := c.Of
	if c.Rule != "" {
		text += ", of " + c.Rule
	}
	p.field(depth, "filter chain", "\"%s\"", text)
}

func (p *page) judgement(depth int, j Judgement) {
	for _, a := range j.Asked {
		if a.Met {
			p.field(depth, j.Action, "%s: matches", a.Rule)
			continue
		}
		p.field(depth, j.Action, "%s: does not match", a.Rule)
		for _, why := range a.Why {
			p.line(depth+9, "%s", why)
		}
	}
}

func (p *page) host(depth int, h *Hop) {
	if h.Host == nil {
		return
	}
	p.field(depth, "virtual host", "%s", h.Host.Name)
	for _, n := range h.Host.Consulted {
		p.field(depth, "rules", "not of %s: %s", n.What, n.Why)
	}
	if h.Host.RuledBy != "" {
		p.field(depth, "rules", "of %s", h.Host.RuledBy)
	}
	rules := h.Rules
	if len(rules) > mostRules {
		p.field(depth, "rule", "%d more before these (-o json shows all)", len(rules)-mostRules)
		rules = rules[len(rules)-mostRules:]
	}
	for _, r := range rules {
		name := r.Rule
		if r.Name != "" && !strings.HasSuffix(name, " "+r.Name) {
			name += fmt.Sprintf(" (%q)", r.Name)
		}
		if r.Met {
			p.field(depth, "rule", "%s: matches", name)
		} else {
			p.field(depth, "rule", "%s: no; %s", name, r.Why)
		}
	}
}

func (p *page) route(depth int, r *Route) {
	if r == nil {
		return
	}
	p.field(depth, "route", "%s; timeout %s; retries %s", r.Does, r.Timeout, r.Retries)
	for _, c := range r.Changes {
		p.field(depth, "changes", "%s", c)
	}
	for _, m := range r.Mirrors {
		p.field(depth, "mirror", "%s", m)
	}
}

func (p *page) target(depth int, t *Target) {
	text := t.Cluster
	if t.Share < 0.999 {
		text += ", " + percent(t.Share) + " of the requests"
	}
	p.field(depth, "cluster", "%s", text)
	inner := depth + 1
	if t.Service != "" {
		p.field(inner, "service", "%s", t.Service)
	}
	switch {
	case t.Rule != "" && t.Subset != "":
		p.field(inner, "subset", "%s of %s", t.Subset, t.Rule)
	case t.Rule != "":
		p.field(inner, "policy", "%s", t.Rule)
	}
	if t.Balancer != "" {
		p.field(inner, "connections", "%s", strings.Join(append([]string{"balanced by " + t.Balancer}, t.Settings...), "; "))
	}
	for i, e := range t.Endpoints {
		if i == mostEndpoints {
			p.field(inner, "endpoint", "%d more", len(t.Endpoints)-i)
			break
		}
		p.endpoint(inner, e)
	}
	for _, h := range t.Hops {
		p.hop(depth, h)
	}
	if t.End != nil {
		p.end(inner, *t.End)
	}
}

func (p *page) endpoint(depth int, e Endpoint) {
	text := e.Address
	if e.Pod != "" {
		text += " " + e.Pod
	}
	if text += ", " + e.State + ", " + e.TLS; e.Share == 0 {
		text += ", gets nothing"
	}
	p.field(depth, "endpoint", "%s", text)
}

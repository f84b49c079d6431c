package describe

import (
	"fmt"
	"io"
	"strings"
)

// page writes lines.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// field writes a name and its value, if it has any.
func (p *page) field(name, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); text != "" {
		p.line("  %-15s %s", name, text)
	}
}

func (p *page) list(name string, values []string) {
	for _, v := range values {
		p.field(name, "%s", v)
	}
}

func (p *page) policies(all []Policy) {
	for _, a := range all {
		p.field("authorization", "%s: %s, %s", a.Object, a.Action, count(a.Rules, "rule"))
	}
}

func (p *page) rules(all []Rule) {
	for _, r := range all {
		text := r.Object + ": hosts " + strings.Join(r.Hosts, ", ")
		if len(r.Gateways) > 0 {
			text += "; gateways " + strings.Join(r.Gateways, ", ")
		}
		if r.Rules > 0 {
			text += "; " + count(r.Rules, "rule")
		}
		if r.Limits != "" {
			text += "; " + r.Limits
		}
		p.field("rules", "%s", text)
		for _, s := range r.Subsets {
			mark := ""
			if s.Here {
				mark = ", this one among them"
			}
			p.line("  %-15s   subset %s (%s): %s%s", "", s.Name, s.Labels, count(s.Pods, "pod"), mark)
		}
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// text is a port in words.
func (p *Port) text() string {
	text := fmt.Sprint(p.Port)
	if p.Name != "" {
		text += fmt.Sprintf(" (%s)", p.Name)
	}
	if p.Target != "" {
		text += " leads to " + p.Target
	}
	text += ", protocol " + p.Protocol
	if p.Service != "" {
		text += ", of " + p.Service
	}
	if p.All > 0 {
		text += fmt.Sprintf(", %d of %s ready", p.Ready, count(p.All, "endpoint"))
	}
	if p.Mode != "" {
		text += fmt.Sprintf(", mutual TLS %s, by %s", p.Mode, p.By)
	}
	return text
}

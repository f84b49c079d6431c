package istioapi

import (
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// close leaves of a rule that is refused what it must not be without: where it asks for TLS nobody is reached, rather than in clear text.
// A rule that asks for none is left out.
func (a *DestinationRule) close(o *inputs.DestinationRule) {
	if values.ValidHost(a.Host, true) != "" {
		return
	}
	a.Policy = closedPolicy(a.Policy, lostTLS(o))
	subsets := a.Subsets
	a.Subsets = nil
	for _, s := range subsets {
		if p := closedPolicy(s.Policy, false); p != nil && !a.HasSubset(s.Name) {
			a.Subsets = append(a.Subsets, &Subset{Name: s.Name, Labels: s.Labels, Policy: p})
		}
	}
	if log := (report.Log{}); values.Selector(&log, "", a.Selector) != nil && len(log.Issues) > 0 {
		a.Selector = nil // nobody knows whom it selects: all
	}
	a.Closed = a.Policy != nil || len(a.Subsets) > 0
}

// closedPolicy is what is left of a policy. Nil: it asks for no TLS.
func closedPolicy(p *Policy, all bool) *Policy {
	refused := Blocks{TLS: &model.ClientTLS{Mode: model.TLSRefused}}
	if p == nil {
		p = &Policy{}
	}
	if all || p.asks() || p.Ports[0].asks() { // a port that is none may be meant as any
		return &Policy{Blocks: refused}
	}
	out := &Policy{Ports: map[uint16]Blocks{}}
	for n, b := range p.Ports {
		if b.asks() {
			out.Ports[n] = refused
		}
	}
	if len(out.Ports) == 0 {
		return nil
	}
	return out
}

func (b Blocks) asks() bool { return b.TLS != nil && b.TLS.Mode != model.TLSDisable }

// lostTLS reports whether a rule may ask for TLS in words that cannot be read.
func lostTLS(o *inputs.DestinationRule) bool {
	return slices.ContainsFunc(o.Issues(), func(p inputs.Problem) bool {
		return strings.HasPrefix(p.Path, "spec.trafficPolicy") && (o.Spec.TrafficPolicy == nil || strings.Contains(p.Path, ".tls"))
	})
}

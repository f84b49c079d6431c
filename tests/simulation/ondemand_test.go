package simulation

import (
	"net/netip"
	"testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestOnDemandDoesTheSame plays every scenario once more with sidecars that know nothing of others until they use them: whatever the rules, the
// outcome is that of a sidecar which was told everything.
func TestOnDemandDoesTheSame(t *testing.T) {
	eachMesh(t, func(t *testing.T, files map[string]string) { meshOf(t, files, true).playAll(t, files) })
}

// demand is a sidecar that asks for what it uses, and what pilot has for it.
type demand struct {
	compiler   *compile.Compiler
	scope      generate.Scope
	outer, own *generate.Set
	told       map[string]map[string]bool // by type: names that were answered
}

func newDemand(m *mesh, pod *pod, c *compile.Compiler, scope generate.Scope, outer, own *generate.Set) *proxy {
	p := &proxy{mesh: m, pod: pod, demand: &demand{compiler: c, scope: scope, outer: outer, own: own, told: map[string]map[string]bool{}}}
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeNames} {
		for _, r := range append(append([]*wire.Resource(nil), outer.All(typ)...), own.All(typ)...) {
			if own.Get(typ, r.Name) != nil || outer.Includes(typ, r.Name) {
				p.answer(typ, r.Name)
			}
		}
	}
	var secrets []wire.Resource
	for _, r := range m.secrets(outer, own) {
		secrets = append(secrets, *r)
	}
	for name, err := range c.Apply(wire.TypeSecret, secrets, nil) {
		m.t.Errorf("proxy %s refuses %s: %v", pod.name, name, err)
	}
	p.fetch()
	return p
}

// answer tells the proxy what there is under a name; it is told once.
func (p *proxy) answer(typ, name string) bool {
	d := p.demand
	if d.told[typ] == nil {
		d.told[typ] = map[string]bool{}
	}
	if d.told[typ][name] {
		return false
	}
	d.told[typ][name] = true
	var changed []wire.Resource
	var removed []string
	if r := p.find(typ, name); r != nil {
		changed = append(changed, *r)
	} else {
		removed = append(removed, name)
	}
	for name, err := range d.compiler.Apply(typ, changed, removed) {
		p.mesh.t.Errorf("proxy %s refuses %s: %v", p.pod.name, name, err)
	}
	return true
}

func (p *proxy) find(typ, name string) *wire.Resource {
	d := p.demand
	switch typ {
	case wire.TypeVirtualHost:
		return d.outer.Host(name)
	case wire.TypeEndpoints:
		if view, known := d.outer.Reach.View(name); known {
			return generate.Endpoints(name, p.mesh.endpoints.Sets[view.Key], view.From(d.scope.From), p.mesh.memo)
		}
		return nil
	}
	if r := d.own.Get(typ, name); r != nil {
		return r
	}
	return d.outer.Get(typ, name)
}

// fetch answers all that the proxy wants, and what that refers to.
func (p *proxy) fetch() {
	for news := true; news; {
		news = false
		for _, typ := range []string{wire.TypeCluster, wire.TypeEndpoints, wire.TypeListener, wire.TypeRoute, wire.TypeVirtualHost} {
			for _, name := range p.demand.compiler.Wanted(typ) {
				news = p.answer(typ, name) || news
			}
		}
		p.config = p.demand.compiler.Config()
	}
}

// address asks for the listeners of an address that an application connects to.
func (p *proxy) address(to netip.AddrPort) {
	if p.demand == nil {
		return
	}
	if p.demand.compiler.AskAddress(to); p.config.Settled == nil {
		p.mesh.t.Errorf("proxy %s is not told to ask for listeners", p.pod.name)
	}
	if p.fetch(); !p.config.Settled[to] {
		p.mesh.t.Errorf("proxy %s does not know the listeners of %s", p.pod.name, to)
	}
}

// host asks for the host of a request where it is not known, and returns the table that knows it.
func (p *proxy) host(table *route.Table, h *config.HTTP, x *exchange.Exchange) *route.Table {
	if vhost, _ := table.Match(x); !vhost.Unasked() {
		return table
	}
	p.demand.compiler.AskHost(table.Name, table.Question(x.Request.Authority))
	p.fetch()
	table = p.config.Table(h)
	if vhost, _ := table.Match(x); vhost.Unasked() {
		p.mesh.t.Errorf("proxy %s does not know the host %s", p.pod.name, x.Request.Authority)
	}
	return table
}

package replica

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	said "github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// Proxy is what a pod's proxy has in force once it was told everything.
type Proxy struct {
	Pod    *Pod
	Scope  generate.Scope
	Config *config.Config
	// Refused are resources that the proxy would not accept, in words.
	Refused []string

	compiler *compile.Compiler
}

// Proxy makes the configuration of a pod's proxy, once.
func (m *Mesh) Proxy(p *Pod) (*Proxy, error) {
	if known := m.proxies[p.Name]; known != nil {
		return known, nil
	}
	out := &Proxy{Pod: p, Scope: m.Scope(p)}
	certificate, err := m.secrets.holder(p.Identity.String())
	if err != nil {
		return nil, fmt.Errorf("making a certificate for %s: %w", p, err)
	}
	c := compile.New(compile.Options{Gateway: p.Role == Gateway, Workload: certificate, Mesh: m.secrets, Secrets: mtls.NewSecrets()})
	if err := m.tell(c, out); err != nil {
		return nil, err
	}
	out.Config, out.compiler = c.Config(), c
	m.proxies[p.Name] = out
	return out, nil
}

// Scope is what about a pod decides its proxy's configuration.
func (m *Mesh) Scope(p *Pod) generate.Scope {
	class := naming.Class{Router: p.Role == Gateway}
	for _, ip := range p.IPs {
		if addr, err := netip.ParseAddr(ip); err == nil {
			class.IPv4, class.IPv6 = class.IPv4 || addr.Is4(), class.IPv6 || addr.Is6()
		}
	}
	if !class.IPv4 && !class.IPv6 {
		class.IPv4 = true
	}
	class.Names = !class.Router && p.says(wire.EnvDNSCapture) == "true"
	class.Allocated = class.Names && p.says(wire.EnvDNSAutoAllocate) != "false"
	return generate.ScopeOf(m.Index, p.Workload, class, m.Memo)
}

// says is the value of a variable of the proxy's environment; "" where it is not set.
func (p *Pod) says(name string) string {
	for _, c := range slices.Concat(p.Object.Spec.InitContainers, p.Object.Spec.Containers) {
		for _, v := range c.Env {
			if c.Name == wire.ProxyContainer && v.Name == name {
				return v.Value
			}
		}
	}
	return ""
}

// tell hands a proxy all resources that it would ask for.
func (m *Mesh) tell(c *compile.Compiler, p *Proxy) error {
	scope := p.Scope
	outer := generate.GenerateOutbound(m.Index, scope.Outbound, m.Memo)
	sets := []*generate.Set{outer}
	if p.Pod.Role == Gateway {
		sets = append(sets, generate.GenerateEdge(m.Index, scope.Outbound, scope.Edge, m.Memo))
	} else {
		sets = append(sets, generate.GenerateInbound(scope.Inbound, m.Memo))
	}
	apply := func(typ string, resources []*wire.Resource) {
		list := make([]wire.Resource, 0, len(resources))
		for _, r := range resources {
			list = append(list, *r)
		}
		for name, err := range c.Apply(typ, list, nil) {
			p.Refused = append(p.Refused, fmt.Sprintf("%s: %v", name, err))
		}
	}
	for _, typ := range []string{wire.TypeCluster, wire.TypeListener, wire.TypeRoute, wire.TypeNames} {
		for _, set := range sets {
			apply(typ, set.All(typ))
		}
	}
	var assignments []*wire.Resource
	for name, view := range outer.Reach.Views() {
		assignments = append(assignments, generate.Endpoints(name, m.Endpoints.Sets[view.Key], view.From(scope.From), m.Memo))
	}
	apply(wire.TypeEndpoints, assignments)
	secrets, err := m.secretsOf(sets)
	apply(wire.TypeSecret, secrets)
	slices.Sort(p.Refused)
	return err
}

// secretsOf stand for the Secrets that resources refer to: any of them is taken to be there, and sound.
func (m *Mesh) secretsOf(sets []*generate.Set) ([]*wire.Resource, error) {
	var out []*wire.Resource
	for _, set := range sets {
		for _, name := range set.Secrets {
			certificate, key, err := m.secrets.issue(name)
			if err != nil {
				return nil, err
			}
			out = append(out, said.CertificateSecret(wire.SecretPrefix+name, model.Secret{Certificate: certificate, Key: key}),
				said.AuthoritySecret(wire.SecretPrefix+name+wire.CACertSuffix, m.secrets.bundle(), nil))
		}
	}
	return out, nil
}

// Captured is the listener for a connection that the pod's application opens: that of the exact address, the port's, or the one that takes
// all others.
func (p *Proxy) Captured(to netip.AddrPort) *config.Listener {
	var wild, rest *config.Listener
	for _, l := range p.Config.Listeners {
		if l.Name == wire.ListenerVirtualOutbound {
			rest = l
		}
		for _, bind := range l.Binds {
			switch {
			case !l.NoBind && (l.RestoreDst || l.Via.Direction == exchange.Inbound):
			case bind == to:
				return l
			case bind.Port() == to.Port() && bind.Addr().IsUnspecified() && bind.Addr().Is4() == to.Addr().Is4():
				wild = l
			}
		}
	}
	if wild != nil {
		return wild
	}
	return rest
}

// Called reports whether the application connects to the proxy itself at an address that one of its listeners, which may be nil, is bound to.
func (p *Proxy) Called(l *config.Listener, to netip.AddrPort) bool {
	return l != nil && !l.NoBind && !l.RestoreDst && (to.Addr().IsLoopback() || slices.Contains(p.Pod.IPs, to.Addr().String()))
}

// Entered is the listener for a connection that comes to the pod: a sidecar's captures all ports, a gateway listens on those it has. Nil:
// there is none.
func (p *Proxy) Entered(port uint16) *config.Listener {
	if p.Pod.Role != Gateway {
		return p.Config.Listener(wire.ListenerVirtualInbound)
	}
	for _, l := range p.Config.Listeners {
		for _, bind := range l.Binds {
			if !l.NoBind && bind.Port() == port {
				return l
			}
		}
	}
	return nil
}

// IsInbound reports whether a cluster delivers to the pod itself.
func IsInbound(cluster string) bool {
	return strings.HasPrefix(cluster, "inbound|") || cluster == wire.ClusterInboundPassthrough
}

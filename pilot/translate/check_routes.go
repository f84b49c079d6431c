package translate

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/reach"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// virtualService warns of destinations, gateways and hosts that lead nowhere.
func (c *Checker) virtualService(log *report.Log, o *inputs.VirtualService, strangers []strange) {
	for i, h := range o.Spec.Http {
		for j, d := range h.Route {
			c.destination(log, o.Namespace, d.GetDestination(), func() string { return fmt.Sprintf("spec.http[%d].route[%d].destination", i, j) })
		}
		if h.Mirror != nil {
			c.destination(log, o.Namespace, h.Mirror, func() string { return fmt.Sprintf("spec.http[%d].mirror", i) })
		}
		for j, m := range h.Mirrors {
			c.destination(log, o.Namespace, m.GetDestination(), func() string { return fmt.Sprintf("spec.http[%d].mirrors[%d].destination", i, j) })
		}
	}
	for i, t := range o.Spec.Tls {
		for j, d := range t.Route {
			c.destination(log, o.Namespace, d.GetDestination(), func() string { return fmt.Sprintf("spec.tls[%d].route[%d].destination", i, j) })
		}
	}
	for i, t := range o.Spec.Tcp {
		for j, d := range t.Route {
			c.destination(log, o.Namespace, d.GetDestination(), func() string { return fmt.Sprintf("spec.tcp[%d].route[%d].destination", i, j) })
		}
	}
	reach.Check(log, o.Spec)
	c.attachment(log, o)
	c.ownership(log, o, strangers)
	c.shadowed(log, o)
}

// destination warns of a host, subset or port that is not there. The path is put together only if there is something to say.
func (c *Checker) destination(log *report.Log, namespace string, d *networking.Destination, path func() string) {
	host := c.host(d.GetHost(), namespace)
	svc := c.services[host]
	if svc == nil {
		log.Missingf(report.Warning, path()+".host", "%s is not a known host: it cannot be reached (503)", host)
		return
	}
	if n := d.GetPort().GetNumber(); n != 0 && svc.Port(uint16(n)) == nil && svc.Resolution != model.ResolveAlias {
		log.Missingf(report.Warning, path()+".port.number", "%s has no port %d: it cannot be reached (503)", host, n)
	}
	if d.GetSubset() != "" && !c.hasSubset(host, d.GetSubset()) {
		log.Missingf(report.Warning, path()+".subset", "no DestinationRule has a subset %q of %s: it cannot be reached (503)", d.GetSubset(), host)
	}
}

// attachment warns of gateways that do not exist, and of hosts that they do not serve.
func (c *Checker) attachment(log *report.Log, o *inputs.VirtualService) {
	for i, name := range o.Spec.Gateways {
		if name == model.MeshGateway {
			continue
		}
		id, _ := values.Gateway(name, o.Namespace)
		g := c.gateways[id]
		if g == nil {
			log.Missingf(report.Warning, indexed("spec.gateways", i), "there is no Gateway %s", id)
			continue
		}
		for j, h := range o.Spec.Hosts {
			if host := c.host(h, o.Namespace); !serves(g, o.Namespace, host) {
				log.Missingf(report.Warning, indexed("spec.hosts", j), "no server of the Gateway %s has this host for namespace %s", id, o.Namespace)
				log.As(report.HostNotAtGateway)
			}
		}
	}
}

// serves reports whether a server admits a host of a namespace, or part of what the host stands for.
func serves(g *model.Gateway, namespace, host string) bool {
	return slices.ContainsFunc(g.Servers, func(s *model.Server) bool {
		return slices.ContainsFunc(s.Hosts, func(h model.GatewayHost) bool {
			return (h.Namespace == "*" || h.Namespace == namespace) && (model.HostIncludes(h.Host, host) || model.HostIncludes(host, h.Host))
		})
	})
}

// shadowed warns of hosts for which a VirtualService that comes first has rules of the same protocol, for the same sidecars. Its rules for bytes go first; its http
// rules are the only ones for the clients and ports that they are for.
func (c *Checker) shadowed(log *report.Log, o *inputs.VirtualService) {
	if len(o.Spec.Gateways) > 0 && !slices.Contains(o.Spec.Gateways, model.MeshGateway) {
		return
	}
	for i, h := range o.Spec.Hosts {
		host := c.host(h, o.Namespace)
		if c.mesh.StrictHosts && stranger(c.services, c.mesh, o.Namespace, host) != nil {
			continue // it has no rules there
		}
		for _, protocol := range protocolsOf(len(o.Spec.Http), len(o.Spec.Tls), len(o.Spec.Tcp)) {
			if first := c.ruler(host, protocol, o); first != nil {
				log.Conflictf(report.Warning, indexed("spec.hosts", i), "%s comes first and has %s rules for the same host, %s", first.From, protocol, precedence(protocol))
				log.As(report.SharedMeshHost)
			}
		}
		if first := c.ruler(host, "", o); len(o.Spec.Http) > 0 && strings.HasPrefix(host, "*") && first != nil && len(first.HTTP) == 0 {
			log.Conflictf(report.Warning, indexed("spec.hosts", i), "%s comes first and has no http rules: services of the same wildcard have none", first.From)
			log.As(report.SharedMeshHost)
		}
	}
}

// precedence says what the rules of a VirtualService that comes first do to those of others.
func precedence(protocol string) string {
	if protocol == "http" {
		return "which decide wherever it has any for the client and port"
	}
	return "which go first"
}

// protocolsOf names the protocols that have rules.
func protocolsOf(http, tls, tcp int) []string {
	var out []string
	for _, p := range []struct {
		name  string
		rules int
	}{{"http", http}, {"tls", tls}, {"tcp", tcp}} {
		if p.rules > 0 {
			out = append(out, p.name)
		}
	}
	return out
}

// ruler returns a VirtualService whose rules of a protocol ("": of any) go before those of o for a host, with sidecars of o's namespace; nil: there is none.
func (c *Checker) ruler(host, protocol string, o *inputs.VirtualService) *model.VirtualService {
	self := model.VirtualService{From: nameOf(o), Export: values.Export(&report.Log{}, "", o.Spec.ExportTo, o.Namespace, c.mesh.VirtualServiceExport)}
	own, older := self.Rank(o.Namespace), true
	for _, v := range c.virtuals[host] {
		if v.From == self.From {
			older = false // the others are younger
			continue
		}
		rank := v.Rank(o.Namespace)
		before := rank < own || rank == own && older
		if before && v.Export.To(o.Namespace) && (protocol == "" || slices.Contains(protocolsOf(len(v.HTTP), len(v.TLS), len(v.TCP)), protocol)) {
			return v
		}
	}
	return nil
}

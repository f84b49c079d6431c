package translate

import (
	"fmt"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/ingress"
)

// mine reports whether an object is to be judged: an Ingress of somebody else is not.
func (c *Checker) mine(o inputs.Object) bool {
	in, ok := o.(*inputs.Ingress)
	return !ok || ingress.Mine(in, c.mesh, &c.ingress.Classes)
}

// readIngress judges an Ingress by itself, and by its class.
func (c *Checker) readIngress(o *inputs.Ingress) []report.Issue {
	_, issues := ingress.Read(o, c.mesh)
	return append(issues, refusedClass(o, &c.ingress.Classes)...)
}

// ingressContext warns of backends that are not there, of paths that an older Ingress has for the same host, and of hosts for which another
// certificate is shown.
func (c *Checker) ingressContext(log *report.Log, o *inputs.Ingress) {
	read, _ := ingress.Read(o, c.mesh)
	if read.Default != nil {
		c.backend(log, read.Default)
	}
	seen := map[model.IngressPath]string{}
	for _, rule := range read.Rules {
		for _, p := range rule.Paths {
			c.backend(log, &p.Backend)
			at := model.IngressPath{Host: rule.Host, Path: p.Match}
			if first, twice := seen[at]; twice {
				log.Warnf(p.At, "never used: %s is the same path of the same host", first)
			} else if owner, taken := c.ingress.Paths[at]; taken && owner != read.From {
				log.Warnf(p.At, "never used: Ingress %s is older and has the same path of the same host", owner)
			}
			seen[at] = p.At
		}
	}
	for _, t := range read.TLS {
		for i, h := range t.Hosts {
			if older, taken := c.ingress.Names[h]; taken && older.Owner != read.From && older.Secret != t.Secret {
				log.Warnf(fmt.Sprintf("%s.hosts[%d]", t.At, i), "clients of %s are shown the certificate of Ingress %s, which is older", h, older.Owner)
			}
		}
	}
}

// backend warns of a Service or a port that is not there.
func (c *Checker) backend(log *report.Log, b *ingress.Backend) {
	svc := c.services[b.Service]
	switch {
	case svc == nil:
		log.Warnf(b.At+".name", "%s is not a known host: it cannot be reached (503)", b.Service)
		log.As(report.NotFound)
	case b.Number(svc) == 0:
		log.Warnf(b.At+".port.name", "%s has no port %q: it cannot be reached (503)", b.Service, b.PortName)
		log.As(report.NotFound)
	case svc.Port(b.Number(svc)) == nil && svc.Resolution != model.ResolveAlias:
		log.Warnf(b.At+".port.number", "%s has no port %d: it cannot be reached (503)", b.Service, b.Port)
		log.As(report.NotFound)
	}
}

package translate

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/ingress"
)

// ingresses translates the Ingresses of the mesh's classes, and joins their rules by host. Objects of other classes are not judged.
func (r *run) ingresses() {
	classes := ingress.Classes(r.in.IngressClasses)
	for _, o := range r.in.IngressClasses {
		if issues := ingress.ReadClass(o); classes.Mine[o.Name] || len(issues) > 0 {
			r.add(entryOf(o, issues))
		}
	}
	var list []*ingress.Ingress
	all, read := r.memo.ingresses.all(r.in.Ingresses, r.mesh, func(o *inputs.Ingress) *result[*ingress.Ingress] {
		v, issues := ingress.Read(o, r.mesh)
		return resultOf(v, entryOf(o, issues))
	})
	for i, res := range read {
		o := all[i]
		if !ingress.Mine(o, r.mesh, &classes) {
			continue
		}
		entry := extend(res.entry, refusedClass(o, &classes))
		r.judge(o, entry, &res.kept)
		if entry.State != report.Refused {
			list = append(list, res.value)
			r.rep.Ingresses.Objects = append(r.rep.Ingresses.Objects, report.Object{Ref: entry.Ref, UID: entry.UID})
		}
	}
	r.snap.Ingress = &model.Ingress{Classes: classes}
	if len(list) == 0 {
		return
	}
	r.rep.Ingresses.Addresses = ingress.Addresses(r.mesh.Ingress, r.in.Services)
	merged := ingress.Merge(list, r.mesh, hosts(r.snap.Services))
	r.snap.Ingress.Paths, r.snap.Ingress.Names = merged.Paths, merged.Names
	r.snap.Gateways = append(r.snap.Gateways, r.memo.edge.intern(merged.Gateway.From, merged.Gateway))
	for _, v := range merged.Virtuals {
		r.snap.VirtualServices = append(r.snap.VirtualServices, r.memo.sites.intern(v.Hosts[0], v))
	}
}

// refusedClass is what is wrong with the class of an Ingress.
func refusedClass(o *inputs.Ingress, classes *model.IngressClasses) []report.Issue {
	log := &report.Log{}
	_, annotated := o.Annotations[wire.IngressClassAnnotation]
	if name := o.Spec.IngressClassName; name != nil && !annotated && classes.Refused[*name] != "" {
		log.Errorf("spec.ingressClassName", "IngressClass %s is refused: %s", *name, classes.Refused[*name])
	}
	return log.Issues
}

// hosts finds services by host.
func hosts(services []*model.Service) func(host string) *model.Service {
	all := make(map[string]*model.Service, len(services))
	for _, s := range services {
		if all[s.Host] == nil {
			all[s.Host] = s
		}
	}
	return func(host string) *model.Service { return all[host] }
}

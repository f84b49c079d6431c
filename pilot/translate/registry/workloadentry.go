package registry

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/core"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var workloadEntryFields = fields.New("{address,ports,labels,locality,weight,serviceAccount}")

// WorkloadEntry is a translated WorkloadEntry: something outside of Kubernetes that Services and ServiceEntries of its namespace select as
// they select pods. It is immutable.
type WorkloadEntry struct {
	From   model.Name
	Labels model.Labels
	// Machine is the proxy of a machine that registered itself. Nil: somebody else wrote the entry, or its address or account is no proxy's.
	Machine *model.Workload
	ports   map[string]uint32
	socket  bool // its address is a Unix domain socket, on the host of each client
	end     *model.Endpoint
	name    string // that its address is; empty: it is none
	ill     bool   // it is probed, and not known to be healthy
}

// ReadWorkloadEntry translates one object. Its labels are those of its spec and, before them, its own, as in Istio.
func ReadWorkloadEntry(o *inputs.WorkloadEntry, mesh *model.Mesh) (*WorkloadEntry, []report.Issue) {
	r, spec := &reader{fields.Read(o, mesh), core.NewLabelSets()}, o.Spec
	workloadEntryFields.Check(spec, "spec", &r.Log)
	r.workloadAddress(spec)
	for _, name := range slices.Sorted(maps.Keys(spec.Ports)) {
		values.Port(&r.Log, "spec.ports["+name+"]", spec.Ports[name])
	}
	labels := maps.Clone(spec.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, o.Labels)
	end := r.workload("spec", &networking.WorkloadEntry{Address: spec.Address, Labels: labels, Locality: spec.Locality, Weight: spec.Weight,
		ServiceAccount: spec.ServiceAccount})
	group, registered := o.Annotations[wire.RegistrationGroup]
	end.Workload = core.Facts(labels, cmp.Or(group, o.Name), o.Namespace, mesh)
	out := &WorkloadEntry{From: fields.From(o), Labels: end.Labels, ports: spec.Ports, ill: o.Unhealthy}
	_, known := values.Address(spec.Address)
	out.end = end
	if out.socket, _ = values.Socket(spec.Address); known || out.socket {
		if known && registered && !end.Identity.IsZero() && strings.HasPrefix(o.Annotations[wire.RegistrationController], wire.RegistrationPrefix) {
			out.Machine = machine(o, end)
		}
	} else {
		out.name = strings.ToLower(spec.Address)
	}
	return out, r.Issues
}

// machine is the workload behind an entry.
func machine(o *inputs.WorkloadEntry, e *model.Endpoint) *model.Workload {
	w := &model.Workload{Name: fields.From(o), IPs: []string{e.Address}, Labels: e.Labels, Identity: e.Identity, Locality: e.Locality,
		Facts: e.Workload, ContainerPorts: map[string]uint16{}, Machine: true}
	w.Facts.Pod = o.Name
	for name, port := range o.Spec.Ports {
		w.ContainerPorts[name] = uint16(port)
	}
	return w
}

func (r *reader) workloadAddress(spec *networking.WorkloadEntry) {
	const path = "spec.address"
	address := spec.Address
	_, ok := values.Address(address)
	socket, why := values.Socket(address)
	switch {
	case address == "":
		r.Errorf(path, "required")
	case socket && why != "":
		r.Errorf(path, "%q: %s", address, why)
	case socket && len(spec.Ports) > 0:
		r.Errorf("spec.ports", "a unix socket has no ports")
	case socket:
	case !ok && values.ValidHost(address, false) != "":
		r.Errorf(path, "%q: %s", address, values.ValidHost(address, false))
	case !ok:
		r.Warnf(path, "%q: a name: only ServiceEntries with resolution DNS or DNS_ROUND_ROBIN select this entry", address)
	}
}

// Endpoint is the entry behind a port of a service that selects it, nil where it has no address, is not healthy, or does not say which port that is.
// Its ports go by the name of the service's port, or of the target port.
func (w *WorkloadEntry) Endpoint(p model.ServicePort, external bool) *model.Endpoint {
	if w.name != "" {
		return nil
	}
	return w.behind(p, external)
}

// Named is Endpoint for a service whose endpoints are looked up: a name or an address, and no socket.
func (w *WorkloadEntry) Named(p model.ServicePort, external bool) *model.Endpoint {
	out := w.behind(p, external)
	if w.socket || out == nil {
		return nil
	}
	if w.name != "" {
		out.Address = w.name
	}
	return out
}

func (w *WorkloadEntry) behind(p model.ServicePort, external bool) *model.Endpoint {
	port := p.Target
	for _, name := range []string{p.TargetName, p.Name} {
		if n := w.ports[name]; n != 0 {
			port = uint16(n)
		}
	}
	if w.socket {
		port = 0
	}
	if w.ill || port == 0 && !w.socket {
		return nil
	}
	out := *w.end
	if external {
		out = *stranger(w.end)
	}
	out.Port = port
	return &out
}

package registry

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/core"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// maxHosts is how many hosts a ServiceEntry may have, as in Istio.
const maxHosts = 256

var serviceEntryFields = fields.New(
	"{hosts,addresses,location,resolution,exportTo,subjectAltNames}",
	"ports.{number,protocol,name,targetPort}",
	"endpoints.{address,ports,labels,locality,weight,serviceAccount}",
	"workloadSelector.labels",
)

// ServiceEntry is a translated ServiceEntry: a service for each host, and what is behind them.
type ServiceEntry struct {
	Services []*model.Service
	// Endpoints are the entry's own, by service port; for STATIC only.
	Endpoints map[uint16][]*model.Endpoint
	// Selector, unless nil, chooses pods and WorkloadEntries of the entry's namespace; of one whose endpoints are looked up, WorkloadEntries only.
	Selector model.Selector
	// Terms are equal where entries of one host and namespace are one service: see Join.
	Terms string
}

// LookedUp reports whether what the entry selects is looked up by DNS.
func (e *ServiceEntry) LookedUp() bool {
	return e.Selector != nil && len(e.Services) > 0 && e.Services[0].Resolution.LookedUp()
}

// Behind are the services of an entry that selects what is looked up, with those that it selects of the WorkloadEntries of its namespace, the oldest first.
func (e *ServiceEntry) Behind(around []*WorkloadEntry) []*model.Service {
	var selected []*WorkloadEntry
	for _, w := range around {
		if e.Selector.Matches(w.Labels) {
			selected = append(selected, w)
		}
	}
	out := make([]*model.Service, len(e.Services))
	for i, svc := range e.Services {
		s := *svc
		s.DNSEndpoints = make(map[uint16][]*model.Endpoint, len(s.Ports))
		for _, p := range s.Ports {
			list := []*model.Endpoint{} // nobody is not the service's own name
			for _, w := range selected {
				if end := w.Named(p, s.External); end != nil && (len(list) == 0 || s.Resolution == model.ResolveDNS) {
					list = append(list, end)
				}
			}
			s.DNSEndpoints[p.Number] = list
		}
		out[i] = &s
	}
	return out
}

// ReadServiceEntry translates one object.
func ReadServiceEntry(o *inputs.ServiceEntry, mesh *model.Mesh) (*ServiceEntry, []report.Issue) {
	r, spec := &reader{fields.Read(o, mesh), core.NewLabelSets()}, o.Spec
	serviceEntryFields.Check(spec, "spec", &r.Log)
	out := &ServiceEntry{}
	base := model.Service{
		Namespace: o.Namespace, From: fields.From(o), Created: values.Created(o), Entry: true,
		External: spec.Location == networking.ServiceEntry_MESH_EXTERNAL,
		Export:   values.Export(&r.Log, "spec.exportTo", spec.ExportTo, o.Namespace, mesh.ServiceExport),
		SANs:     spec.SubjectAltNames,
	}
	base.Locality = values.Distribution(&r.Log, "metadata.annotations["+values.DistributionAnnotation+"]", o.Annotations[values.DistributionAnnotation])
	base.Session = values.Session(&r.Log, mesh, o.Labels)
	base.Resolution = r.resolution(spec.Resolution)
	base.Addresses = r.entryAddresses(spec.Addresses)
	base.Ports = r.entryPorts(spec.Ports, base.Resolution)
	if base.Resolution == model.ResolveNamed {
		r.named(spec, base.Ports)
	}
	if spec.WorkloadSelector != nil {
		if out.Selector = values.Selector(&r.Log, "spec.workloadSelector.labels", spec.WorkloadSelector.Labels); out.Selector == nil {
			out.Selector = model.Selector{}
		}
		r.checkSelector(spec)
	}
	r.entryEndpoints(spec, &base, out)
	out.Terms = terms(o, spec, &base)
	if len(spec.Hosts) == 0 || len(spec.Hosts) > maxHosts {
		r.Errorf("spec.hosts", "%d hosts: 1 to %d expected", len(spec.Hosts), maxHosts)
	}
	for i, name := range spec.Hosts {
		host := strings.ToLower(name)
		if why := values.ValidHost(host, true); why != "" || host == "*" {
			r.Errorf(fields.At("spec.hosts", i), "%q: %s", name, orString(why, "a wildcard needs a suffix"))
		}
		if strings.HasPrefix(host, "*") && base.Resolution.LookedUp() && len(spec.Endpoints) == 0 && spec.WorkloadSelector == nil {
			r.Errorf(fields.At("spec.hosts", i), "%q: a wildcard cannot be looked up; resolution NONE or endpoints are needed", name)
		}
		if base.Resolution == model.ResolveNamed && !strings.HasPrefix(host, "*") {
			r.Errorf(fields.At("spec.hosts", i), "%q: resolution DYNAMIC_DNS is for wildcards: DNS looks a single name up", name)
		}
		if model.PartialWildcard(host) && slices.ContainsFunc(base.Ports, func(p model.ServicePort) bool { return p.Protocol.IsTLS() }) {
			r.Errorf(fields.At("spec.hosts", i), "%q: %s", name, values.ServerName(host))
		}
		s := base
		s.Host, s.Name = host, host
		out.Services = append(out.Services, &s)
	}
	return out, r.Issues
}

func orString(s, byDefault string) string {
	if s == "" {
		return byDefault
	}
	return s
}

func (r *reader) resolution(n networking.ServiceEntry_Resolution) model.Resolution {
	switch n {
	case networking.ServiceEntry_NONE:
		return model.ResolvePassthrough
	case networking.ServiceEntry_STATIC:
		return model.ResolveEndpoints
	case networking.ServiceEntry_DNS:
		return model.ResolveDNS
	case networking.ServiceEntry_DNS_ROUND_ROBIN:
		return model.ResolveDNSRoundRobin
	case networking.ServiceEntry_DYNAMIC_DNS:
		return model.ResolveNamed
	}
	r.Errorf("spec.resolution", "%s: not implemented by this version", n)
	return model.ResolvePassthrough
}

// named checks an entry whose hosts are looked up as requests bring them: something of the connection must say the host.
func (r *reader) named(spec *networking.ServiceEntry, ports []model.ServicePort) {
	if len(spec.Endpoints) > 0 {
		r.Warnf("spec.endpoints", "without effect: resolution DYNAMIC_DNS goes where the names of requests lead")
	}
	for i, p := range ports {
		if !p.Protocol.IsHTTP() && !p.Protocol.IsTLS() {
			r.Errorf(fields.At("spec.ports", i)+".protocol", "resolution DYNAMIC_DNS needs a protocol that names the host: HTTP, HTTP2, GRPC, GRPC-WEB, TLS or HTTPS")
		}
	}
}

func (r *reader) checkSelector(spec *networking.ServiceEntry) {
	if len(spec.WorkloadSelector.Labels) == 0 {
		r.Warnf("spec.workloadSelector.labels", "there are none: all workloads of the namespace are selected")
	}
	if len(spec.Endpoints) > 0 {
		r.Errorf("spec.workloadSelector", "only one of endpoints and workloadSelector may be given")
	}
	switch spec.Resolution {
	case networking.ServiceEntry_NONE:
		r.Warnf("spec.workloadSelector", "without effect: resolution NONE sends to the address that was asked for")
	case networking.ServiceEntry_DYNAMIC_DNS:
		r.Errorf("spec.workloadSelector", "resolution DYNAMIC_DNS goes where the names of requests lead")
	case networking.ServiceEntry_DNS, networking.ServiceEntry_DNS_ROUND_ROBIN:
		r.Warnf("spec.workloadSelector", "%s: WorkloadEntries are selected, and no pods; for pods there is STATIC", spec.Resolution)
	}
}

// entryAddresses spells each address in one way, and each of them once.
func (r *reader) entryAddresses(list []string) []string {
	var out []string
	for i, a := range list {
		spelled, ok := values.Address(a)
		if !ok {
			spelled, ok = values.CIDR(a)
		}
		if !ok {
			r.Errorf(fields.At("spec.addresses", i), "%q is not an address or a block of addresses", a)
		} else if !slices.Contains(out, spelled) {
			out = append(out, spelled)
		}
	}
	return out
}

// entryPorts reads the ports. Those of UDP are left out: nothing captures it, and it goes where it is sent.
func (r *reader) entryPorts(list []*networking.ServicePort, how model.Resolution) []model.ServicePort {
	if len(list) == 0 {
		r.Warnf("spec.ports", "there are none: nobody is reached by these hosts")
	}
	out := make([]model.ServicePort, 0, len(list))
	for i, p := range list {
		path := fields.At("spec.ports", i)
		port := model.ServicePort{Name: p.Name, Number: values.Port(&r.Log, path+".number", p.Number)}
		if p.Name == "" {
			r.Errorf(path+".name", "required")
		}
		if p.Protocol != "" {
			protocol, ok := values.Protocol(p.Protocol)
			switch {
			case !ok:
				r.Errorf(path+".protocol", "%q: not implemented by this version", p.Protocol)
			case protocol == model.UDP:
				r.Warnf(path, "without effect: UDP is not carried")
			}
			port.Protocol = protocol
		}
		switch {
		case p.TargetPort != 0:
			port.Target = values.Port(&r.Log, path+".targetPort", p.TargetPort)
		case how != model.ResolvePassthrough: // which dials the client's port
			port.Target = port.Number
		}
		if slices.ContainsFunc(out, func(q model.ServicePort) bool { return q.Number == port.Number || q.Name == port.Name }) {
			r.Errorf(path, "another port has this name or number")
		}
		out = append(out, port)
	}
	return slices.DeleteFunc(out, func(p model.ServicePort) bool { return p.Protocol == model.UDP })
}

// entryEndpoints reads endpoints: addresses for STATIC, of which there may be none, host names for DNS.
func (r *reader) entryEndpoints(spec *networking.ServiceEntry, base *model.Service, out *ServiceEntry) {
	switch base.Resolution {
	case model.ResolveNamed:
		return
	case model.ResolvePassthrough:
		if len(spec.Endpoints) > 0 {
			r.Errorf("spec.endpoints", "resolution NONE sends to the address that was asked for: endpoints must not be given")
		}
		return
	case model.ResolveEndpoints:
		out.Endpoints = map[uint16][]*model.Endpoint{}
		if len(spec.Endpoints) == 0 && spec.WorkloadSelector == nil {
			r.Warnf("spec.endpoints", "there are none, nor a workloadSelector: it cannot be reached (503)")
		}
	}
	if base.Resolution == model.ResolveDNSRoundRobin && len(spec.Endpoints) > 1 {
		r.Errorf("spec.endpoints", "resolution DNS_ROUND_ROBIN has at most one endpoint")
	}
	byPort := out.Endpoints
	if base.Resolution != model.ResolveEndpoints && len(spec.Endpoints) > 0 {
		byPort = map[uint16][]*model.Endpoint{}
		base.DNSEndpoints = byPort
	}
	for i, e := range spec.Endpoints {
		path := fields.At("spec.endpoints", i)
		r.checkEndpoint(path, e, spec, base)
		for _, p := range base.Ports {
			byPort[p.Number] = append(byPort[p.Number], r.endpoint(path, e, base, p))
		}
	}
}

func (r *reader) checkEndpoint(path string, e *networking.WorkloadEntry, spec *networking.ServiceEntry, base *model.Service) {
	if socket, why := values.Socket(e.Address); socket {
		r.checkSocket(path, e, base, why)
		return
	}
	ip := net.ParseIP(e.Address) != nil
	switch {
	case base.Resolution == model.ResolveEndpoints && !ip:
		r.Errorf(path+".address", "%q: resolution STATIC needs an address", e.Address)
	case !ip && values.ValidHost(e.Address, false) != "":
		r.Errorf(path+".address", "%q: %s", e.Address, values.ValidHost(e.Address, false))
	}
	for _, name := range slices.Sorted(maps.Keys(e.Ports)) {
		values.Port(&r.Log, path+".ports["+name+"]", e.Ports[name])
		if !slices.ContainsFunc(spec.Ports, func(p *networking.ServicePort) bool { return p.Name == name }) {
			r.Errorf(path+".ports["+name+"]", "spec.ports has no port of this name")
		}
	}
}

// checkSocket checks an endpoint that is a Unix domain socket; why is what is wrong with its address.
func (r *reader) checkSocket(path string, e *networking.WorkloadEntry, base *model.Service, why string) {
	if why != "" {
		r.Errorf(path+".address", "%q: %s", e.Address, why)
	}
	if base.Resolution != model.ResolveEndpoints {
		r.Errorf(path+".address", "%q: unix sockets need resolution STATIC", e.Address)
	}
	if len(e.Ports) > 0 {
		r.Errorf(path+".ports", "a unix socket has no ports")
	}
	if len(base.Ports) > 1 {
		r.Errorf("spec.ports", "%d ports: unix sockets stand for exactly one", len(base.Ports))
	}
}

func (r *reader) endpoint(path string, e *networking.WorkloadEntry, base *model.Service, p model.ServicePort) *model.Endpoint {
	out := r.workload(path, e)
	if base.External {
		out = stranger(out)
	}
	switch socket, _ := values.Socket(e.Address); {
	case socket:
	case e.Ports[p.Name] != 0:
		out.Port = uint16(e.Ports[p.Name])
	default:
		out.Port = p.Target
	}
	return out
}

// stranger is what an endpoint outside of the mesh has of it.
func stranger(e *model.Endpoint) *model.Endpoint {
	return &model.Endpoint{Address: e.Address, Port: e.Port, Weight: e.Weight, Locality: e.Locality, Labels: e.Labels, Health: e.Health}
}

// workload reads an endpoint, whatever its port.
func (r *reader) workload(path string, e *networking.WorkloadEntry) *model.Endpoint {
	address, _ := values.Address(e.Address) // others are names
	out := &model.Endpoint{Address: address, Weight: e.Weight, Locality: cmp.Or(values.Locality(e.Locality), core.Said(e.Labels))}
	out.Labels = r.labels.One(core.Placed(e.Labels, out.Locality, "", r.Mesh.ClusterID))
	if e.ServiceAccount != "" {
		id, err := spiffe.New(r.Mesh.TrustDomain, r.Namespace, e.ServiceAccount)
		if err != nil {
			r.Errorf(path+".serviceAccount", "%q is not the name of a service account", e.ServiceAccount)
		}
		out.Identity = id
	}
	if e.Labels[values.DrainingLabel] != "" {
		out.Health = model.Draining
	}
	mode, given := e.Labels[wire.TLSModeLabel]
	out.MeshTLS = mode == wire.TLSModeMesh || (!given && e.ServiceAccount != "")
	out.Workload = model.Facts{Namespace: r.Namespace, Workload: e.Labels["app"], App: e.Labels["app"], Version: e.Labels["version"],
		CanonicalName: e.Labels[wire.CanonicalNameLabel], CanonicalRevision: e.Labels[wire.CanonicalRevLabel], Cluster: r.Mesh.ClusterID}
	return out
}

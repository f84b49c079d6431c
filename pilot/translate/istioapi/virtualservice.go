package istioapi

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var virtualServiceFields = fields.New(
	"{hosts,gateways,exportTo}",
	"http.{name,timeout}",
	"http.match.{name,statPrefix,port,sourceLabels,sourceNamespace,gateways,ignoreUriCase}",
	"http.match.{uri,scheme,method,authority,headers,withoutHeaders,queryParams}.{exact,prefix,regex}",
	"http.route.{weight,destination.{host,subset,port.number},headers.{request,response}.{set,add,remove}}",
	"http.redirect.{uri,authority,port,derivePort,scheme,redirectCode,prefixRewrite}",
	"http.directResponse.{status,body.{string,bytes}}",
	"http.delegate.{name,namespace}",
	"http.rewrite.{uri,authority,uriRegexRewrite.{match,rewrite}}",
	"http.retries.{attempts,perTryTimeout,retryOn,retryRemoteLocalities,retryIgnorePreviousHosts,backoff}",
	"http.fault.delay.{percent,fixedDelay,percentage.value}",
	"http.fault.abort.{httpStatus,grpcStatus,percentage.value}",
	"http.{mirror.{host,subset,port.number},mirrorPercent,mirrorPercentage.value}",
	"http.mirrors.{destination.{host,subset,port.number},percentage.value}",
	"http.corsPolicy.{allowOrigin,allowOrigins.{exact,prefix,regex},allowMethods,allowHeaders,exposeHeaders,maxAge,allowCredentials,unmatchedPreflights}",
	"http.headers.{request,response}.{set,add,remove}",
	"tls.match.{sniHosts,destinationSubnets,port,sourceLabels,gateways,sourceNamespace}",
	"tcp.match.{destinationSubnets,port,sourceLabels,gateways,sourceNamespace}",
	"{tls,tcp}.route.{weight,destination.{host,subset,port.number}}",
)

// VirtualService is a translated VirtualService before delegates are merged in.
type VirtualService struct {
	*model.VirtualService
	// Delegates says which of the HTTP routes stand for another VirtualService's, by index.
	Delegates map[int]model.Name
	// mirrors are what the HTTP routes say of mirrors, of which delegates inherit each by itself; nil: no route does.
	mirrors map[int]mirroring
}

// IsDelegate reports whether the object serves others only: it has no hosts of its own.
func (v *VirtualService) IsDelegate() bool { return len(v.Hosts) == 0 }

// ReadVirtualService translates one object.
func ReadVirtualService(o *inputs.VirtualService, mesh *model.Mesh) (*VirtualService, []report.Issue) {
	return read(o, mesh, (*reader).virtualService)
}

func (r *reader) virtualService(o *inputs.VirtualService) *VirtualService {
	spec := o.Spec
	virtualServiceFields.Check(spec, "spec", &r.Log)
	out := &VirtualService{VirtualService: &model.VirtualService{From: fields.From(o), HTTP: slices.Grow([]*model.HTTPRoute(nil), len(spec.Http))}}
	out.Export = values.Export(&r.Log, "spec.exportTo", spec.ExportTo, o.Namespace, r.Mesh.VirtualServiceExport)
	if slices.Contains(spec.ExportTo, "~") {
		r.Errorf("spec.exportTo", `"~" is for Services and ServiceEntries`)
	}
	out.Hosts = r.virtualHosts(spec.Hosts)
	if len(spec.Hosts) > 0 {
		out.Gateways = []string{model.MeshGateway}
	}
	if len(spec.Gateways) > 0 {
		out.Gateways = r.gateways("spec.gateways", spec.Gateways)
	}
	r.checkShape(spec, out)
	for i, h := range spec.Http {
		path := r.at("spec.http", i)
		route, delegate := r.httpRoute(path, h)
		if m := r.mirroring(path, h); m.given() {
			if route.Mirrors = m.all(); m.lacks() && delegate == nil && !out.IsDelegate() {
				r.Warnf(path+m.field(), "without effect: there is no mirror")
			}
			if out.mirrors == nil {
				out.mirrors = map[int]mirroring{}
			}
			out.mirrors[len(out.HTTP)] = m
		}
		if delegate != nil {
			if out.IsDelegate() {
				r.Errorf(path+".delegate", "a delegate cannot delegate")
			}
			if out.Delegates == nil {
				out.Delegates = map[int]model.Name{}
			}
			out.Delegates[len(out.HTTP)] = *delegate
		}
		out.HTTP = append(out.HTTP, route)
	}
	for i, t := range spec.Tls {
		route := r.tlsRoute(r.at("spec.tls", i), t, out.Hosts)
		r.subnetsAtGateways(r.at("spec.tls", i)+".match", route.Matches, out.Gateways)
		out.TLS = append(out.TLS, route)
	}
	for i, t := range spec.Tcp {
		route := r.tcpRoute(r.at("spec.tcp", i), t)
		r.subnetsAtGateways(r.at("spec.tcp", i)+".match", route.Matches, out.Gateways)
		out.TCP = append(out.TCP, route)
	}
	return out
}

// checkShape records what is wrong with the object as a whole.
func (r *reader) checkShape(spec *networking.VirtualService, out *VirtualService) {
	if len(spec.Http)+len(spec.Tls)+len(spec.Tcp) == 0 {
		r.Errorf("spec", "http, tls or tcp must be given")
	}
	if out.IsDelegate() {
		if len(spec.Gateways) > 0 {
			r.Errorf("spec.gateways", "without hosts this is a delegate, which has no gateways")
		}
		if len(spec.Tls)+len(spec.Tcp) > 0 {
			r.Errorf("spec", "without hosts this is a delegate, which has http only")
		}
	}
	if slices.Contains(out.Hosts, "*") && slices.Contains(out.Gateways, model.MeshGateway) {
		r.Errorf("spec.hosts", `"*" is for gateways; with the gateway "mesh" it is not allowed`)
	}
}

func (r *reader) virtualHosts(names []string) []string {
	hosts := slices.Grow([]string(nil), len(names))
	for i, name := range names {
		host := r.host(r.at("spec.hosts", i), name, true)
		if slices.Contains(hosts, host) {
			r.Errorf(r.at("spec.hosts", i), "%q is there twice", name)
			continue
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// gateways resolves references to gateways.
func (r *reader) gateways(path string, names []string) []string {
	out := make([]string, 0, len(names))
	for i, name := range names {
		id, form := values.Gateway(name, r.Namespace)
		switch form {
		case values.NoGateway:
			r.Errorf(r.at(path, i), `%q: "name", "namespace/name" or "mesh" expected`, name)
		case values.OlderGateway:
			r.Warnf(r.at(path, i), "%q: an older way to write %q", name, id)
		}
		out = append(out, id)
	}
	return out
}

func (r *reader) source(path string, labels map[string]string, namespace string) model.Source {
	return model.Source{Labels: values.Selector(&r.Log, path+".sourceLabels", labels), Namespace: namespace}
}

// destination reads a target; weights are the caller's.
func (r *reader) destination(path string, d *networking.Destination) *model.Destination {
	if d == nil || d.Host == "" {
		r.Errorf(path+".host", "a destination host is required")
		return &model.Destination{}
	}
	out := &model.Destination{Host: r.host(path+".host", d.Host, true), Subset: d.Subset}
	if values.IsAddress(d.Host) || d.Host == "*" {
		r.Errorf(path+".host", "%q: a host name expected", d.Host)
	}
	if d.Port != nil {
		out.Port = values.Port(&r.Log, path+".port.number", d.Port.Number)
	}
	return out
}

// weigh drops what has no share from a list, which it takes over. A single destination gets everything.
func (r *reader) weigh(path string, all []*model.Destination, weights []int32) []*model.Destination {
	var sum int64
	out := all[:0]
	for i, d := range all {
		d.Weight = values.Count(&r.Log, r.at(path, i)+".weight", weights[i])
		if sum += int64(d.Weight); d.Weight > 0 {
			out = append(out, d)
		}
	}
	switch {
	case len(all) == 1:
		all[0].Weight = 1
		return all
	case sum == 0 && len(all) > 0:
		r.Errorf(path, "the weights sum to zero")
	case sum > 1<<32-1:
		r.Errorf(path, "the weights sum to more than %d", uint32(1<<32-1))
	}
	return out
}

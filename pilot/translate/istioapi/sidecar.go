package istioapi

import (
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var sidecarFields = fields.New(
	"workloadSelector.labels", "outboundTrafficPolicy.{mode,egressProxy.{host,subset,port.number}}",
	"egress.{port.{number,protocol,name},bind,captureMode,hosts}",
	"ingress.{port.{number,protocol,name},bind,captureMode,defaultEndpoint,tls."+ingressTLSFields+","+poolFields+"}", "inboundConnectionPool."+poolSettings,
)

// ingressTLSFields are of TLS that ends at a sidecar, as in Istio: its certificates are files, and no names choose among clients.
const ingressTLSFields = "{mode,serverCertificate,privateKey,caCertificates,caCrl,verifyCertificateSpki,verifyCertificateHash,minProtocolVersion,maxProtocolVersion,cipherSuites}"

// ReadSidecar translates one object.
func ReadSidecar(o *inputs.Sidecar, mesh *model.Mesh) (*model.Sidecar, []report.Issue) {
	r, spec := &reader{Reader: fields.Read(o, mesh)}, o.Spec
	sidecarFields.Check(spec, "spec", &r.Log)
	out := &model.Sidecar{From: fields.From(o)}
	if spec.WorkloadSelector != nil {
		out.Selector = values.Selector(&r.Log, "spec.workloadSelector.labels", spec.WorkloadSelector.Labels)
	}
	if p := spec.OutboundTrafficPolicy; p != nil {
		only := p.Mode != networking.OutboundTrafficPolicy_ALLOW_ANY
		out.RegistryOnly = &only
		out.EgressProxy = r.egressProxy("spec.outboundTrafficPolicy.egressProxy", p)
	}
	out.Pool = r.inboundPool("spec.inboundConnectionPool", spec.InboundConnectionPool)
	for i, e := range spec.Egress {
		path := r.at("spec.egress", i)
		l := r.egress(path, e)
		if l.Port == 0 && i != len(spec.Egress)-1 {
			r.Errorf(path, "the listener without a port must be the last")
		}
		same := func(o *model.EgressListener) bool { return o.Port == l.Port }
		if l.Port != 0 && slices.ContainsFunc(out.Egress, same) {
			r.Errorf(path+".port.number", "%d is there twice", l.Port)
		}
		out.Egress = append(out.Egress, l)
	}
	for i, g := range spec.Ingress {
		path := r.at("spec.ingress", i)
		l := r.ingress(path, g)
		if slices.ContainsFunc(out.Ingress, func(o *model.IngressListener) bool { return o.Port == l.Port }) {
			r.Errorf(path+".port.number", "%d is there twice", l.Port)
		}
		out.Ingress = append(out.Ingress, l)
	}
	r.apart(out)
	carried(out)
	return out, r.Issues
}

// carried takes the listeners of UDP away. Where no other imports anything, nothing is imported: no listener at all would import everything.
func carried(out *model.Sidecar) {
	limited := len(out.Egress) > 0
	out.Egress = slices.DeleteFunc(out.Egress, func(l *model.EgressListener) bool { return l.Protocol == model.UDP })
	out.Ingress = slices.DeleteFunc(out.Ingress, func(l *model.IngressListener) bool { return l.Protocol == model.UDP })
	if limited && len(out.Egress) == 0 {
		out.Egress = []*model.EgressListener{{}}
	}
}

// egressProxy reads where traffic to unknown destinations is sent.
func (r *reader) egressProxy(path string, p *networking.OutboundTrafficPolicy) *model.Destination {
	if p.EgressProxy == nil {
		return nil
	}
	if p.Mode != networking.OutboundTrafficPolicy_ALLOW_ANY {
		r.Errorf(path, "for mode ALLOW_ANY only")
	}
	out := r.destination(path, p.EgressProxy)
	if strings.HasPrefix(out.Host, "*") {
		r.Errorf(path+".host", "%q: a host name expected", p.EgressProxy.Host)
	}
	if p.EgressProxy.Port == nil {
		r.Errorf(path+".port", "required")
	}
	return out
}

func (r *reader) egress(path string, e *networking.IstioEgressListener) *model.EgressListener {
	out := &model.EgressListener{}
	if e.Port != nil {
		out.Port, out.Protocol = r.sidecarPort(path+".port", e.Port)
	}
	out.Bind, out.Direct = r.bind(path+".bind", e.Bind), r.listens(path, e.CaptureMode, out.Port) && out.Protocol != model.UDP
	switch ip, err := netip.ParseAddr(out.Bind); {
	case err != nil:
	case out.Direct && !ip.IsLoopback():
		r.Warnf(path+".bind", "other pods may connect to %s, too, and are served in the name of the workload", out.Bind)
	case !out.Direct && ip.IsLoopback():
		r.Warnf(path+".bind", "without effect: no connections to %s are captured, and the proxy itself listens with captureMode NONE only", out.Bind)
	}
	if e.Port == nil && e.Bind != "" {
		r.Errorf(path+".port", "required with bind")
	}
	if e.Port == nil && e.CaptureMode == networking.CaptureMode_NONE {
		r.Errorf(path+".port", "required with captureMode NONE")
	}
	if len(e.Hosts) == 0 {
		r.Errorf(path+".hosts", "required")
	}
	for i, h := range e.Hosts {
		out.Hosts = append(out.Hosts, r.egressHost(r.at(path+".hosts", i), h))
	}
	return out
}

// egressHost reads "namespace/dnsName": the namespace may be "*" or ".". With "~" before it hosts are taken away, and "~" alone is "~*".
func (r *reader) egressHost(path, h string) model.EgressHost {
	rest, exclude := strings.CutPrefix(h, "~")
	namespace, host, ok := strings.Cut(rest, "/")
	if !ok {
		r.Errorf(path, `%q: "namespace/dnsName" expected`, h)
	}
	switch {
	case namespace == ".", namespace == "*":
	case namespace == "" && exclude:
		namespace = "*"
	case values.ValidHost(namespace, false) != "":
		r.Errorf(path, "%q is not a namespace", namespace)
	}
	host = strings.ToLower(host)
	if why := values.ValidHost(host, true); ok && why != "" {
		r.Errorf(path, "%q: %s", h, why)
	}
	return model.EgressHost{Namespace: namespace, Host: host, Exclude: exclude}
}

func (r *reader) ingress(path string, g *networking.IstioIngressListener) *model.IngressListener {
	out := &model.IngressListener{Endpoint: g.DefaultEndpoint, Pool: r.inboundPool(path+".connectionPool", g.ConnectionPool)}
	if g.Port == nil {
		r.Errorf(path+".port", "required")
	} else {
		out.Port, out.Protocol = r.sidecarPort(path+".port", g.Port)
	}
	out.Bind, out.Direct = r.bind(path+".bind", g.Bind), r.listens(path, g.CaptureMode, out.Port)
	if out.Bind != "" && !out.Direct {
		if ip := netip.MustParseAddr(out.Bind); !ip.IsUnspecified() {
			r.Errorf(path+".bind", "%q: for captureMode NONE only: connections to every address of the pod are captured", g.Bind)
		}
		out.Bind = ""
	}
	out.TLS = r.ingressTLS(path+".tls", g.Tls, out.Protocol)
	socket, why := values.Socket(g.DefaultEndpoint)
	if socket && why != "" {
		r.Errorf(path+".defaultEndpoint", "%q: %s", g.DefaultEndpoint, why)
	}
	if g.DefaultEndpoint == "" || socket {
		return out
	}
	at, err := netip.ParseAddrPort(g.DefaultEndpoint)
	if err != nil || at.Port() == 0 || !slices.Contains([]string{"127.0.0.1", "::1", "0.0.0.0", "::"}, at.Addr().String()) {
		r.Errorf(path+".defaultEndpoint", "%q: 127.0.0.1:port, [::1]:port, 0.0.0.0:port or unix:///path expected", g.DefaultEndpoint)
	}
	return out
}

// ingressTLS reads how clients from outside the mesh secure connections to a port.
func (r *reader) ingressTLS(path string, t *networking.ServerTLSSettings, protocol model.Protocol) *model.ServerTLS {
	if t == nil {
		return nil
	}
	out := r.serverParameters(path, t)
	out.Files = &model.ServerFiles{Chain: t.ServerCertificate, Key: t.PrivateKey, Roots: t.CaCertificates, CRL: t.CaCrl}
	if !protocol.IsTLS() {
		r.Errorf(path, "the port's protocol has no TLS: HTTPS or TLS expected")
	}
	if t.ServerCertificate == "" || t.PrivateKey == "" {
		r.Errorf(path, "serverCertificate and privateKey are required")
	}
	switch t.Mode {
	case networking.ServerTLSSettings_SIMPLE:
		out.Mode = model.ServerSimple
		if t.CaCertificates != "" || t.CaCrl != "" || len(t.VerifyCertificateSpki)+len(t.VerifyCertificateHash) > 0 {
			r.Errorf(path, "mode SIMPLE asks for no client certificate: nothing may be said of them")
		}
	case networking.ServerTLSSettings_MUTUAL:
		out.Mode = model.ServerMutual
		if t.CaCertificates == "" {
			r.Errorf(path+".caCertificates", "required for mode MUTUAL")
		}
		r.pins(path, t, out)
	default:
		r.Errorf(path+".mode", "%s: SIMPLE or MUTUAL expected at a sidecar", t.Mode)
	}
	return out
}

// inboundPool reads limits and timeouts towards the application.
func (r *reader) inboundPool(path string, p *networking.ConnectionPoolSettings) *model.ConnectionPool {
	out := r.connectionPool(path, p)
	if out == nil {
		return nil
	}
	if p.GetHttp().GetH2UpgradePolicy() != networking.ConnectionPoolSettings_HTTPSettings_DEFAULT {
		r.Warnf(path+".http.h2UpgradePolicy", "without effect: what the application speaks is said by its port's protocol, or is what the client speaks")
	}
	out.UpgradeHTTP2, out.KeepHTTP1 = false, false
	return out
}

func (r *reader) sidecarPort(path string, p *networking.SidecarPort) (uint16, model.Protocol) {
	protocol, ok := values.Protocol(p.Protocol)
	switch {
	case p.Protocol != "" && !ok:
		r.Errorf(path+".protocol", "%q: not implemented by this version", p.Protocol)
	case protocol == model.UDP:
		r.Warnf(path, "without effect: UDP is not carried")
	}
	return values.Port(&r.Log, path+".number", p.Number), protocol
}

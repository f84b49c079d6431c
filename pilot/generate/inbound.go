package generate

import (
	"net/netip"
	"sort"

	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// inboundPorts are the ports of a workload that Services (or its Sidecar) and port-level policies declare, by number.
func (ix *Index) inboundPorts(w *model.Workload, sidecar *model.Sidecar) []listeners.Port {
	ports := map[uint16]listeners.Port{}
	add := func(p listeners.Port, from *model.Service, number uint16) {
		if _, known := ports[p.Port]; p.Port != 0 && !known {
			p.Mode = ix.peers.Mode(w.Name.Namespace, w.Labels, p.Port)
			if p.Pool == nil && sidecar != nil {
				p.Pool = sidecar.Pool
			}
			if p.Pool == nil && from != nil {
				p.Pool = ix.serverPool(w, sidecar, from, number)
			}
			ports[p.Port] = p
		}
	}
	if sidecar != nil {
		for _, l := range sidecar.Ingress {
			bind, also := ownBind(l, w)
			svc, number := ix.behind(w, l.Port)
			add(listeners.Port{Port: l.Port, Protocol: l.Protocol, Endpoint: ownEndpoint(l.Endpoint, w), Bind: bind, Also: also, TLS: l.TLS, Pool: l.Pool}, svc, number)
		}
	}
	if len(ports) == 0 {
		for svc, p := range ix.declared(w) {
			add(listeners.Port{Port: targetPort(p, w), Protocol: p.Protocol, Service: svc, Number: p.Number}, svc, p.Number)
		}
	}
	for _, port := range ix.peers.Ports(w.Name.Namespace, w.Labels) {
		add(listeners.Port{Port: port}, nil, 0)
	}
	out := make([]listeners.Port, 0, len(ports))
	for _, p := range ports {
		out = append(out, p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Port < out[j].Port })
	return out
}

// declared walks the ports of the Services that select a workload.
func (ix *Index) declared(w *model.Workload) func(func(*model.Service, *model.ServicePort) bool) {
	return func(yield func(*model.Service, *model.ServicePort) bool) {
		for _, svc := range ix.selecting[w.Name.Namespace] {
			if !svc.Selects(w) {
				continue
			}
			for i := range svc.Ports {
				if p := &svc.Ports[i]; p.Protocol != model.UDP && !yield(svc, p) {
					return
				}
			}
		}
	}
}

// behind is the first Service to lead to a workload's port, and its own port; nil: none does.
func (ix *Index) behind(w *model.Workload, port uint16) (*model.Service, uint16) {
	for svc, p := range ix.declared(w) {
		if targetPort(p, w) == port {
			return svc, p.Number
		}
	}
	return nil, 0
}

// serverPool is the pool of the DestinationRule that the workload itself, as a client, obeys towards its own Service: servers are to bear what their
// clients may send. Rules with a selector are for clients alone; so is the mesh's own policy. Nil: the default.
func (ix *Index) serverPool(w *model.Workload, sidecar *model.Sidecar, svc *model.Service, port uint16) *model.ConnectionPool {
	o := Outbound{Namespace: w.Name.Namespace, Sidecar: sidecar}
	if _, imported := importsOf(o).Service(svc); !imported || !svc.Export.To(o.Namespace) {
		return nil
	}
	rule := ix.rule(o, svc)
	if rule == nil {
		return nil
	}
	policy := rule.Default.For(port)
	if policy == nil || policy.ConnectionPool == (model.ConnectionPool{}) || ix.mesh.Baseline != nil && policy.ConnectionPool == ix.mesh.Baseline.ConnectionPool {
		return nil
	}
	return &policy.ConnectionPool
}

// targetPort is the container port behind a service port; 0: the pod has no port of that name.
func targetPort(p *model.ServicePort, w *model.Workload) uint16 {
	if w.Machine {
		for _, name := range []string{p.Name, p.TargetName} {
			if port := w.ContainerPorts[name]; port != 0 {
				return port
			}
		}
		return p.Target // 0: the target is a name that it does not know
	}
	if p.TargetName != "" {
		return w.ContainerPorts[p.TargetName]
	}
	if p.Target != 0 {
		return p.Target
	}
	return p.Number
}

// GenerateInbound returns the listener and the clusters for the traffic that a sidecar receives.
func GenerateInbound(in listeners.Inbound, m *Memo) *Set {
	return m.inbound.Get(in, func(in listeners.Inbound) *Set {
		set := newSet()
		for _, r := range in.Resources() {
			set.add(r)
		}
		return set.finish()
	})
}

// ownBind is where a workload's proxy listens itself for a port of its Sidecar, and the address of the other family where it has both; "": nowhere.
func ownBind(l *model.IngressListener, w *model.Workload) (bind, also string) {
	switch {
	case !l.Direct:
		return "", ""
	case l.Bind != "":
		return l.Bind, ""
	}
	var first netip.Addr
	for _, text := range w.IPs {
		ip, err := netip.ParseAddr(text)
		switch {
		case err != nil || !ip.IsGlobalUnicast():
		case !first.IsValid():
			first = ip
		case first.Is4() != ip.Is4():
			return first.String(), ip.String()
		}
	}
	if !first.IsValid() {
		return "0.0.0.0", ""
	}
	return first.String(), ""
}

// ownEndpoint is a Sidecar's defaultEndpoint for a workload: 0.0.0.0 and [::] stand for the pod's own address, of that family if it has one.
func ownEndpoint(endpoint string, w *model.Workload) string {
	at, err := netip.ParseAddrPort(endpoint)
	if err != nil || !at.Addr().IsUnspecified() {
		return endpoint
	}
	var own netip.Addr
	for _, text := range w.IPs {
		if ip, err := netip.ParseAddr(text); err == nil && (!own.IsValid() || own.Is4() != at.Addr().Is4()) {
			own = ip
		}
	}
	if !own.IsValid() {
		return "" // no address is known yet: the one that the client chose
	}
	return netip.AddrPortFrom(own, at.Port()).String()
}

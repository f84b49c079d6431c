package istioapi

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// bind reads the address of a Sidecar's listener.
func (r *reader) bind(path, text string) string {
	if text == "" {
		return ""
	}
	if strings.HasPrefix(text, model.SocketScheme) {
		r.Errorf(path, "%q: Unix domain sockets are not implemented by this version", text)
		return ""
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" || ip.IsMulticast() {
		r.Errorf(path, "%q: an IP address expected", text)
		return ""
	}
	return ip.Unmap().String()
}

// proxyPorts are those that the proxy listens at for itself.
var proxyPorts = []uint16{wire.PortAdmin, wire.PortOutbound, wire.PortInbound, wire.PortStatus, wire.PortReady, wire.PortDNS, wire.PortProxyPrometheus}

// listens reads whether the proxy itself listens at a Sidecar's listener, which it cannot at ports that it uses already.
func (r *reader) listens(path string, mode networking.CaptureMode, port uint16) bool {
	if mode != networking.CaptureMode_NONE {
		return false
	}
	if slices.Contains(proxyPorts, port) {
		r.Errorf(path+".port.number", "%d is the proxy's own", port)
	}
	return true
}

// ownAddress stands for the addresses of the pod, which a Sidecar does not know.
var ownAddress netip.Addr

// boundAt are the addresses at which the proxy itself listens: the one that the listener names, or those where it names none.
func boundAt(bind string, otherwise ...netip.Addr) []netip.Addr {
	if ip, err := netip.ParseAddr(bind); err == nil {
		return []netip.Addr{ip}
	}
	return otherwise
}

// egressAt are those of an egress listener. A wildcard address is served in every family that the pod has.
func egressAt(l *model.EgressListener) []netip.Addr {
	out := boundAt(l.Bind, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	if out[0].IsUnspecified() {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return out
}

// covers reports whether connections to one address arrive at who listens at another.
func covers(at, to netip.Addr) bool {
	switch {
	case at == to:
		return true
	case to == ownAddress: // of which family it is depends on the pod, and so whether a named address is among them
		return !at.IsLoopback()
	case at == ownAddress:
		return !to.IsLoopback()
	}
	return at.IsUnspecified() && at.Is4() == to.Is4()
}

// arrives reports whether connections to one address arrive at any of others.
func arrives(to netip.Addr, at []netip.Addr) bool {
	return slices.ContainsFunc(at, func(a netip.Addr) bool { return covers(a, to) })
}

// apart holds that the proxy listens once at each address, and delivers nothing to where it listens itself: inbound requests would leave the pod in
// the workload's name, or go round in circles.
func (r *reader) apart(out *model.Sidecar) {
	for i, l := range out.Ingress {
		if l.Protocol == model.UDP {
			continue
		}
		path := r.at("spec.ingress", i)
		if n := slices.IndexFunc(out.Egress, func(e *model.EgressListener) bool { return sameSocket(e, l) }); n >= 0 {
			r.Errorf(path+".port.number", "the proxy listens at %d already: spec.egress[%d]", l.Port, n)
		}
		if l.Direct && l.Endpoint == "" {
			r.Errorf(path+".defaultEndpoint", "required with captureMode NONE: the proxy itself listens at the port")
			continue
		}
		to, port, ok := delivered(l)
		if !ok {
			continue
		}
		if l.Endpoint != "" && slices.Contains(proxyPorts, port) {
			r.Errorf(path+".defaultEndpoint", "%q: the proxy's own port, which is not for others", l.Endpoint)
		}
		told := cmp.Or(l.Endpoint, "the pod's own address")
		for n, e := range out.Egress {
			if e.Direct && e.Port == port && arrives(to, egressAt(e)) {
				r.Errorf(path+".defaultEndpoint", "%q: the proxy itself listens there: spec.egress[%d]", told, n)
			}
		}
		for n, o := range out.Ingress {
			if o.Direct && o.Port == port && arrives(to, boundAt(o.Bind, ownAddress)) {
				r.Errorf(path+".defaultEndpoint", "%q: the proxy itself listens there: spec.ingress[%d]", told, n)
			}
		}
	}
}

// delivered is where what arrives at a listener goes: what is captured, and names no endpoint, to where the client meant it.
func delivered(l *model.IngressListener) (to netip.Addr, port uint16, ok bool) {
	if l.Endpoint == "" {
		return ownAddress, l.Port, true
	}
	at, err := netip.ParseAddrPort(l.Endpoint)
	if err != nil {
		return ownAddress, 0, false
	}
	if at.Addr().IsUnspecified() {
		return ownAddress, at.Port(), true
	}
	return at.Addr(), at.Port(), true
}

// sameSocket reports whether the proxy would listen twice at one address.
func sameSocket(e *model.EgressListener, i *model.IngressListener) bool {
	if !e.Direct || !i.Direct || e.Port != i.Port {
		return false
	}
	in := boundAt(i.Bind, ownAddress)
	return slices.ContainsFunc(egressAt(e), func(a netip.Addr) bool { return arrives(a, in) || covers(a, in[0]) })
}

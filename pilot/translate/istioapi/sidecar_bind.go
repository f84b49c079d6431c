package istioapi

import (
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

// listens reads whether the proxy itself listens at a Sidecar's listener, which it cannot at ports that it uses already.
func (r *reader) listens(path string, mode networking.CaptureMode, port uint16) bool {
	if mode != networking.CaptureMode_NONE {
		return false
	}
	if slices.Contains([]uint16{wire.PortAdmin, wire.PortOutbound, wire.PortInbound, wire.PortStatus, wire.PortReady, wire.PortDNS, wire.PortProxyPrometheus}, port) {
		r.Errorf(path+".port.number", "%d is the proxy's own", port)
	}
	return true
}

// apart holds that a port at which the proxy listens itself leads to the application, which therefore listens elsewhere.
func (r *reader) apart(path string, l *model.IngressListener) {
	if !l.Direct {
		return
	}
	if l.Endpoint == "" {
		r.Errorf(path, "required with captureMode NONE: the proxy itself listens at the port")
		return
	}
	at, err := netip.ParseAddrPort(l.Endpoint)
	if err != nil || at.Port() != l.Port {
		return
	}
	own := at.Addr().IsUnspecified() && l.Bind == "" // both are the pod's own address
	bind, _ := netip.ParseAddr(l.Bind)
	if own || bind.IsValid() && (bind == at.Addr() || bind.IsUnspecified() && bind.Is4() == at.Addr().Is4()) {
		r.Errorf(path, "%q: the proxy itself listens there", l.Endpoint)
	}
}

// sameSocket reports whether the proxy would listen twice at one address.
func sameSocket(e *model.EgressListener, i *model.IngressListener) bool {
	if !e.Direct || !i.Direct || e.Port != i.Port {
		return false
	}
	any := func(text string) bool {
		ip, err := netip.ParseAddr(text)
		return err == nil && ip.IsUnspecified()
	}
	return e.Bind != "" && e.Bind == i.Bind || any(e.Bind) || any(i.Bind)
}

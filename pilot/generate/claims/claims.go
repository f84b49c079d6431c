// Package claims says who wants which listener of a sidecar, and for what, before any is made. It knows no xDS and makes no listener.
package claims

import (
	"cmp"

	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Claims are what the services that a client sees want.
type Claims struct {
	http  map[string]bool // Key
	ports map[uint16]contest
}

// contest is who wants a wildcard listener for what it cannot do at once: to wait for a client's first bytes, and for the server's; declared is
// who has nothing else than HTTP there.
type contest struct{ looked, first, declared *model.Service }

// New returns Claims that nobody has made yet.
func New() *Claims { return &Claims{http: map[string]bool{}, ports: map[uint16]contest{}} }

// Key names the listener of an address's port.
func Key(address string, port uint16) string {
	return naming.Address(address) + "_" + naming.Port(port)
}

// SpeaksFirst reports whether servers of a protocol speak before their clients, so that a listener must not wait for these.
func SpeaksFirst(p model.Protocol) bool { return p == model.Mongo || p == model.MySQL }

// MaySpeakHTTP reports whether a port of a protocol may carry HTTP in plaintext.
func MaySpeakHTTP(p model.Protocol) bool { return p.IsHTTP() || p == model.Unknown }

// Add notes what one port of a service wants. wildcard: bytes for it are taken at any address.
func (c *Claims) Add(svc *model.Service, port *model.ServicePort, wildcard bool) {
	at := c.ports[port.Number]
	switch {
	case port.Protocol.IsHTTP():
		for _, a := range svc.Addresses {
			c.http[Key(a, port.Number)] = true
		}
		at.looked, at.declared = older(at.looked, svc), older(at.declared, svc)
	case port.Protocol == model.Unknown && len(svc.Addresses) == 0:
		at.looked = older(at.looked, svc)
	case SpeaksFirst(port.Protocol) && wildcard:
		at.first = older(at.first, svc)
	}
	c.ports[port.Number] = at
}

// older is the service that was created first, and of equal age the one whose name comes first; a may be nil.
func older(a, b *model.Service) *model.Service {
	if a == nil || cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(b.Name, a.Name), cmp.Compare(b.Namespace, a.Namespace)) < 0 {
		return b
	}
	return a
}

// HTTP reports whether the listener of a Key is wanted for HTTP.
func (c *Claims) HTTP(key string) bool { return c.http[key] }

// LeftOut reports whether a port gets no part of its wildcard listener because servers of an older service speak first and its own do not, or
// the reverse: as in Istio the newcomer is left out.
func (c *Claims) LeftOut(port *model.ServicePort) bool {
	at := c.ports[port.Number]
	switch {
	case at.looked == nil || at.first == nil:
		return false
	case SpeaksFirst(port.Protocol):
		return older(at.looked, at.first) == at.looked
	}
	return MaySpeakHTTP(port.Protocol) && older(at.looked, at.first) == at.first
}

// Rest reports whether an undeclared port may have what else than HTTP comes to its wildcard listener: not where an older service declares HTTP there.
func (c *Claims) Rest(svc *model.Service, port *model.ServicePort) bool {
	http := c.ports[port.Number].declared
	return !c.LeftOut(port) && (http == nil || older(http, svc) == svc)
}

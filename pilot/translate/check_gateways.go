package translate

import (
	"maps"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
)

// edgePort is where servers meet.
type edgePort struct {
	bind string
	port uint16
}

// edgeUse is what older servers have made of a port.
type edgeUse struct {
	family model.ServerKind
	first  model.Name            // whose server came first
	hosts  map[string]model.Name // who serves a host
	names  map[string]model.Name // who has a server name of TLS
}

// gateway tells of servers that cannot be served beside older ones of the same pods, or that share a host with them: servers of older
// Gateways, or earlier ones of the same.
func (c *Checker) gateway(log *report.Log, o *inputs.Gateway) {
	own, _ := istioapi.ReadGateway(o, c.mesh)
	ports := map[edgePort]*edgeUse{}
	for _, other := range c.edges {
		if other.From == own.From {
			break // the others are younger
		}
		if maps.Equal(other.Selector, own.Selector) {
			for _, s := range other.Servers {
				placeServer(&report.Log{}, "", ports, other.From, s)
			}
		}
	}
	for i, s := range own.Servers {
		placeServer(log, indexed("spec.servers", i), ports, own.From, s)
	}
}

// placeServer adds a server to the ones before it.
func placeServer(log *report.Log, path string, ports map[edgePort]*edgeUse, owner model.Name, s *model.Server) {
	at, family := edgePort{s.Bind, s.Port}, s.Kind().Family()
	use := ports[at]
	if use == nil {
		use = &edgeUse{family: family, first: owner, hosts: map[string]model.Name{}, names: map[string]model.Name{}}
		ports[at] = use
	} else if use.family != family || family == model.ServeTCP {
		log.Conflictf(report.Partial, path, "left out: on port %d it cannot share a listener with the server of %s that came first", s.Port, use.first)
		log.As(report.SharedGatewayHost)
		return
	}
	for _, h := range s.Hosts {
		if older, taken := use.hosts[h.Host]; !taken {
			use.hosts[h.Host] = owner
		} else if older != owner {
			log.Conflictf(report.Warning, path, "%s is older and serves the same host on port %d", older, s.Port)
			log.As(report.SharedGatewayHost)
			break
		}
	}
	if kind := s.Kind(); kind == model.ServeHTTPS || kind == model.ServeTLS {
		use.claim(log, path, owner, s)
	}
}

// claim takes the server names of TLS that are left. A server without any is left out.
func (u *edgeUse) claim(log *report.Log, path string, owner model.Name, s *model.Server) {
	var older model.Name
	left := false
	for _, name := range serverNames(s) {
		taken, ok := u.names[name]
		if ok {
			older = taken
			continue
		}
		left = true
		if s.Kind() == model.ServeHTTPS { // bytes need a VirtualService before they take a name
			u.names[name] = owner
		}
	}
	if !left {
		log.Conflictf(report.Partial, path, "left out: a server of %s that came first has every host of it on port %d", older, s.Port)
		log.As(report.SharedGatewayHost)
	}
}

// serverNames are the names that clients of a server send; "*" is any, and includes all.
func serverNames(s *model.Server) []string {
	var out []string
	for _, h := range s.Hosts {
		if h.Host == "*" {
			return []string{"*"}
		}
		out = append(out, h.Host)
	}
	return out
}

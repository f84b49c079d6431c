package translate

import (
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
	names  map[string]claim      // who has a server name of TLS
}

// claim is a server that has a name.
type claim struct {
	owner  model.Name
	server *model.Server
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
		switch {
		case selects(other.Selector, own.Selector):
			for _, s := range other.Servers {
				placeServer(&report.Log{}, "", ports, other.From, s)
			}
		case selects(own.Selector, other.Selector):
			besideNarrower(log, own, other)
		}
	}
	for i, s := range own.Servers {
		placeServer(log, indexed("spec.servers", i), ports, own.From, s)
	}
}

// selects reports whether a selector selects every pod that the narrower one does.
func selects(wider, narrower model.Selector) bool {
	for k, v := range wider {
		if got, ok := narrower[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// besideNarrower warns of servers that cannot be served at some of their pods, which an older Gateway selects too.
func besideNarrower(log *report.Log, own, older *model.Gateway) {
	for i, s := range own.Servers {
		ports := map[edgePort]*edgeUse{}
		for _, o := range older.Servers {
			if o.Port == s.Port && o.Bind == s.Bind {
				placeServer(&report.Log{}, "", ports, older.From, o)
			}
		}
		both := &report.Log{}
		placeServer(both, indexed("spec.servers", i), ports, own.From, s)
		for _, issue := range both.Issues {
			issue.Severity, issue.Reason = report.Warning, "at pods that both select: "+issue.Reason
			log.Issues = append(log.Issues, issue)
		}
	}
}

// placeServer adds a server to the ones before it.
func placeServer(log *report.Log, path string, ports map[edgePort]*edgeUse, owner model.Name, s *model.Server) {
	at, family := edgePort{s.Bind, s.Port}, s.Kind().Family()
	use := ports[at]
	if use == nil {
		use = &edgeUse{family: family, first: owner, hosts: map[string]model.Name{}, names: map[string]claim{}}
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
	var older claim
	var lost string // the last name that another server has
	left := false
	for _, name := range serverNames(s) {
		taken, ok := u.names[name]
		if ok {
			older, lost = taken, name
			continue
		}
		left = true
		if s.Kind() == model.ServeHTTPS { // bytes need a VirtualService before they take a name
			u.names[name] = claim{owner, s}
		}
	}
	switch {
	case !left:
		log.Conflictf(report.Partial, path, "left out: a server of %s that came first has every host of it on port %d", older.owner, s.Port)
		log.As(report.SharedGatewayHost)
	case lost != "" && older.owner == owner && !equal(older.server.TLS, s.TLS): // of another Gateway it is told
		log.Conflictf(report.Warning, path, "without effect for %s: a server that came first has it on port %d, with other settings of TLS", lost, s.Port)
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

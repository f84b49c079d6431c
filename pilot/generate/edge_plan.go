package generate

import (
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// edgePlan is one listener in the making.
type edgePlan struct {
	family  model.ServerKind
	servers []BoundServer
	chains  []listeners.GatewayChain
	claimed map[string]int // SNI, and the index of the chain that has it
	https   []httpsServer
}

// httpsServer is a server that ends TLS and has routes of its own.
type httpsServer struct {
	BoundServer
	routes string // name of the route configuration
	chain  int
	names  []string // SNI; none: any
}

// claim takes the server names that no older chain has. Nil with true is any name; false: nothing was left.
func (p *edgePlan) claim(hosts []string) ([]string, bool) {
	var out []string
	anyName := len(hosts) == 0
	for _, h := range hosts {
		anyName = anyName || h == "*"
	}
	if anyName {
		hosts = []string{"*"}
	}
	for _, h := range hosts {
		if _, taken := p.claimed[h]; !taken {
			p.claimed[h] = len(p.chains)
			out = append(out, h)
		}
	}
	if anyName {
		return nil, len(out) > 0
	}
	return out, len(out) > 0
}

// owner is the chain to which a client comes that names host, or a name of that pattern, in its handshake.
func (p *edgePlan) owner(host string) (chain int, ok bool) {
	if chain, ok = p.claimed[host]; ok {
		return chain, true
	}
	for rest := strings.TrimPrefix(host, "*."); ; {
		_, after, found := strings.Cut(rest, ".")
		if !found {
			break
		}
		rest = after
		if chain, ok = p.claimed["*."+rest]; ok {
			return chain, true
		}
	}
	chain, ok = p.claimed["*"]
	return chain, ok
}

// owns reports whether clients of a host come to a server. Where there is no TLS, they do.
func (p *edgePlan) owns(s *httpsServer, host string) bool {
	if s == nil {
		return true
	}
	chain, ok := p.owner(host)
	return !ok || chain == s.chain
}

// others are the names below those of a server that other chains have. Who speaks of them on a connection of this server must not be served:
// the other one may ask for a client's certificate, and this one has not.
func (p *edgePlan) others(s *httpsServer) []string {
	if s == nil {
		return nil
	}
	own := s.names
	if len(own) == 0 {
		own = []string{"*"}
	}
	var out []string
	for name, chain := range p.claimed {
		if chain == s.chain {
			continue
		}
		for _, n := range own {
			if naming.Covers(n, name) {
				out = append(out, name)
				break
			}
		}
	}
	sort.Strings(out)
	return out
}

package engine

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// peers implements telemetry.Peers over all endpoints that the proxy knows. The index is made when it is first asked for.
type peers struct {
	current atomic.Pointer[peerIndex]
}

type peerIndex struct {
	config *config.Config
	once   sync.Once
	at     map[netip.Addr][]*exchange.Endpoint
}

func (p *peers) set(c *config.Config) { p.current.Store(&peerIndex{config: c}) }

// Workload implements telemetry.Peers: the workload whose endpoint is at addr and has that identity.
func (p *peers) Workload(addr netip.Addr, identity string) *exchange.Workload {
	index := p.current.Load()
	if index == nil {
		return nil
	}
	index.once.Do(index.build)
	for _, ep := range index.at[addr] {
		if ep.Identity == identity {
			return ep.Workload
		}
	}
	return nil
}

func (i *peerIndex) build() {
	i.at = map[netip.Addr][]*exchange.Endpoint{}
	for _, assignment := range i.config.Endpoints {
		for _, ep := range assignment.Endpoints {
			if ep.Workload == nil || ep.Identity == "" {
				continue
			}
			if ep.Path != "" {
				continue
			}
			known := i.at[ep.Address.Addr()]
			if len(known) > 0 && known[len(known)-1].Workload == ep.Workload {
				continue
			}
			i.at[ep.Address.Addr()] = append(known, ep)
		}
	}
}

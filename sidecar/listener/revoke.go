package listener

import (
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// revoked judges an open connection by another configuration. Permission is a matter of inbound listeners and of edges; what leaves
// a workload is not let in by anybody.
func (s *session) revoked(live *config.Live) bool {
	a := s.admitted.Load()
	if a == nil {
		return false
	}
	inbound := a.facts.Via.Direction == exchange.Inbound
	if !inbound && !a.facts.Via.Gateway {
		return false
	}
	l := live.Listener(a.listener)
	if l == nil {
		return false
	}
	again := a.facts // filters may write into what they judge
	chain := l.Choose(&again)
	switch {
	case chain == nil, (chain.TLS != nil) != (again.Security != nil):
		return inbound // an edge whose server has gone or changed lets what is open end by itself
	case chain.TLS != nil && !chain.TLS.Accepts(again.Security):
		return true
	}
	for _, f := range chain.Network {
		if f.Connection(&again) != exchange.OK {
			return true
		}
	}
	return false
}

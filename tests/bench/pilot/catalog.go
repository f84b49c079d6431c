package main

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	cluster3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
)

// catalog is what clients learned of resources, once for all of them: what a resource refers to does not depend on who received it.
type catalog struct {
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu      sync.Mutex
	entries map[uint64]*entry
}

// outbound begins the names of the clusters that stand for the mesh's services.
const outbound = "outbound|80||"

// entry is one version of one resource.
type entry struct {
	name    string
	service bool     // a cluster of a service's
	wants   []string // endpoints that a cluster needs, routes that a listener does, clusters that a virtual host does

	mu     sync.Mutex
	judged *goal
	meets  uint32
}

func newCatalog() *catalog {
	c := &catalog{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = map[uint64]*entry{}
	}
	return c
}

// entry returns what is known of a resource.
func (c *catalog) entry(typ string, r resource) (*entry, error) {
	var h maphash.Hash
	h.SetSeed(c.seed)
	h.WriteString(typ)
	h.Write(r.name)
	h.WriteByte(0)
	h.Write(r.version)
	key := h.Sum64()
	s := &c.shards[key%uint64(len(c.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		return e, nil
	}
	e := &entry{name: string(r.name)}
	e.service = typ == wire.TypeCluster && strings.HasPrefix(e.name, outbound)
	var err error
	if e.wants, err = wants(typ, e.name, r.body); err != nil {
		return nil, err
	}
	s.entries[key] = e
	return e, nil
}

// wants reads which resources a resource refers to.
func wants(typ, name string, body []byte) ([]string, error) {
	switch typ {
	case wire.TypeCluster:
		var c cluster3.Cluster
		if err := proto.Unmarshal(body, &c); err != nil {
			return nil, fmt.Errorf("reading cluster %s: %w", name, err)
		}
		if c.GetType() != cluster3.Cluster_EDS {
			return nil, nil
		}
		if other := c.GetEdsClusterConfig().GetServiceName(); other != "" {
			name = other
		}
		return []string{name}, nil
	case wire.TypeListener:
		var l listener3.Listener
		if err := proto.Unmarshal(body, &l); err != nil {
			return nil, fmt.Errorf("reading listener %s: %w", name, err)
		}
		return routesOf(&l)
	case wire.TypeVirtualHost:
		var h route3.VirtualHost
		if err := proto.Unmarshal(body, &h); err != nil {
			return nil, fmt.Errorf("reading virtual host %s: %w", name, err)
		}
		return clustersOf(&h), nil
	}
	return nil, nil
}

// clustersOf are the clusters that a virtual host leads to.
func clustersOf(h *route3.VirtualHost) []string {
	var out []string
	for _, r := range h.GetRoutes() {
		if name := r.GetRoute().GetCluster(); name != "" {
			out = append(out, name)
		}
		for _, c := range r.GetRoute().GetWeightedClusters().GetClusters() {
			out = append(out, c.GetName())
		}
	}
	return out
}

// routesOf are the routes that a listener's HTTP filters ask for.
func routesOf(l *listener3.Listener) ([]string, error) {
	var out []string
	for _, chain := range append(l.GetFilterChains(), l.GetDefaultFilterChain()) {
		for _, f := range chain.GetFilters() {
			var m hcm.HttpConnectionManager
			if !f.GetTypedConfig().MessageIs(&m) {
				continue
			}
			if err := f.GetTypedConfig().UnmarshalTo(&m); err != nil {
				return nil, fmt.Errorf("reading listener %s: %w", l.GetName(), err)
			}
			if name := m.GetRds().GetRouteConfigName(); name != "" {
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// need is a resource with something in it.
type need struct {
	typ, name string
	mark      []byte // empty: anything
}

// of are the needs, one bit each, that the resource meets.
func (e *entry) of(g *goal, typ string, body []byte) uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.judged == g {
		return e.meets
	}
	e.judged, e.meets = g, 0
	for i, n := range g.needs {
		if n.typ == typ && n.name == e.name && bytes.Contains(body, n.mark) {
			e.meets |= 1 << i
		}
	}
	return e.meets
}

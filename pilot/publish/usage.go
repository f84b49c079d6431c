package publish

import (
	"sync"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const (
	maxUsed   = 1024             // names of a type that are remembered of a workload
	usageLife = 10 * time.Minute // how long they are, after the last of its proxies left
)

// usage is what the proxies on demand of one workload asked for by name: a replica uses what its siblings use.
type usage struct {
	mu      sync.Mutex
	names   map[string]map[string]bool // by type
	clients map[*client]struct{}
	left    time.Time // when the last client did
}

// usageOf returns the usage of the client's workload, which it joins; p.mu is held.
func (p *Publisher) usageOf(c *client, w *model.Workload) *usage {
	key := model.Name{Namespace: w.Name.Namespace, Name: w.Facts.Workload}
	if !c.node.OnDemand || key.Name == "" {
		return nil
	}
	u := p.usages[key]
	if u == nil {
		u = &usage{names: map[string]map[string]bool{}, clients: map[*client]struct{}{}}
		p.usages[key] = u
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clients[c] = struct{}{}
	return u
}

// leave takes a client out.
func (u *usage) leave(c *client, now time.Time) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.clients, c)
	u.left = now
}

// forgetUsages forgets what workloads used that have been without proxies for long.
func (p *Publisher) forgetUsages(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, u := range p.usages {
		u.mu.Lock()
		if len(u.clients) == 0 && now.Sub(u.left) > usageLife {
			delete(p.usages, key)
		}
		u.mu.Unlock()
	}
}

// Asked implements discovery.Subscription: what is there, siblings are told of, too.
func (c *client) Asked(typ string, names map[string]bool) {
	u := c.usage.Load()
	if u == nil || typ != wire.TypeVirtualHost && typ != wire.TypeListener {
		return
	}
	s := c.state.Load()
	news := map[string]bool{}
	u.mu.Lock()
	defer u.mu.Unlock()
	for name := range names {
		if u.names[typ][name] || len(u.names[typ]) >= maxUsed || s.find(typ, name) == nil {
			continue
		}
		if u.names[typ] == nil {
			u.names[typ] = map[string]bool{}
		}
		u.names[typ][name], news[name] = true, true
	}
	if len(news) == 0 {
		return
	}
	for sibling := range u.clients {
		if sibling != c {
			sibling.enqueue(discovery.Changes{typ: news})
		}
	}
}

// has reports whether a name was asked for.
func (u *usage) has(typ, name string) bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.names[typ][name]
}

// add adds the names of a type to a set.
func (u *usage) add(typ string, to map[string]bool) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for name := range u.names[typ] {
		to[name] = true
	}
}

package compile

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/questions"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// hosted is a virtual host that came alone, as the answer for one host of a table.
type hosted struct {
	table, host string
	found       route.Found
}

// makeHost makes a virtual host. Its name is the table's, a slash, and the host that was asked for.
func (c *Compiler) makeHost(b *builder, m *routev3.VirtualHost, next, _ *entry[*hosted]) error {
	table, host, ok := strings.Cut(next.resource.Name, "/")
	if !ok || host == "" {
		return values.Wrong("resource", "its name is not that of a table and a host")
	}
	description, err := b.virtualHost(m)
	if err != nil {
		return err
	}
	made, err := route.NewVirtualHost(description)
	next.made = &hosted{table, host, route.Found{VirtualHost: made, Domains: description.Domains}}
	return err
}

// AskHost notes that a request needs to know what a table has for a host. False: too many questions are open.
func (c *Compiler) AskHost(table, host string) bool {
	return c.hostsAsked.Add(table+"/"+host, func(name string) questions.Answer {
		switch {
		case c.hosts[name] != nil:
			return questions.Held
		case c.absent[wire.TypeVirtualHost][name]:
			return questions.Vain
		}
		return questions.Open
	})
}

// AskAddress notes that a connection needs to know which listeners there are for its destination. False: too many questions are open.
func (c *Compiler) AskAddress(a netip.AddrPort) bool {
	return c.addressesAsked.Add(a, func(a netip.AddrPort) questions.Answer {
		switch name := listenerNames(a)[0]; {
		case c.listeners[name] != nil:
			return questions.Held
		case c.absent[wire.TypeListener][name]:
			return questions.Vain
		}
		return questions.Open
	})
}

// listenerNames are the listeners that a connection to an address may be handed to: its own, and those of all addresses of its port.
func listenerNames(a netip.AddrPort) []string {
	port := "_" + strconv.Itoa(int(a.Port()))
	out := []string{a.Addr().String() + port, netip.IPv4Unspecified().String() + port}
	if a.Addr().Is6() {
		out = append(out, netip.IPv6Unspecified().String()+port)
	}
	return out
}

// asksAddresses reads whether connections are to ask for their listeners, as the listener that captures them says.
func asksAddresses(in *listenerv3.Listener) bool {
	return values.Texts(in.GetMetadata().GetFilterMetadata()[wire.OnDemandMetadata])[wire.OnDemandListeners] == "true"
}

// settled returns the addresses for which all that the control plane has is in force; nil where listeners are not on demand.
func (c *Compiler) settled() map[netip.AddrPort]bool {
	asked := false
	for _, e := range c.listeners {
		asked = asked || e.asks && e.live
	}
	if !asked {
		return nil
	}
	out := make(map[netip.AddrPort]bool, len(c.addressesAsked.Names()))
	for _, a := range c.addressesAsked.Names() {
		if !slices.ContainsFunc(listenerNames(a), c.pending) {
			out[a] = true
		}
	}
	return out
}

// pending reports whether it is not known yet what a listener's name stands for.
func (c *Compiler) pending(listener string) bool {
	if e := c.listeners[listener]; e != nil {
		return !e.live
	}
	return !c.absent[wire.TypeListener][listener]
}

// completed is a table on demand with what was answered, and what it was made of.
type completed struct {
	base, table *route.Table
	found       map[string]route.Found
	absent      []string
}

// complete adds to tables on demand what was answered for their hosts. One to which nothing was added stays the same.
func (c *Compiler) complete(tables map[string]*route.Table) {
	next := map[string]*completed{}
	for name, t := range tables {
		if t.OnDemand() {
			next[name] = &completed{base: t, found: map[string]route.Found{}}
		}
	}
	if len(next) == 0 {
		c.tables = nil
		return
	}
	for _, e := range c.hosts {
		e.activate(c.clustersReady(e.needs.clusters))
		if at := next[e.made.table]; at != nil && e.live {
			at.found[e.active.host] = e.active.found
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.absent[wire.TypeVirtualHost])) {
		table, host, _ := strings.Cut(name, "/")
		if at := next[table]; at != nil && c.hosts[name] == nil {
			at.absent = append(at.absent, host)
		}
	}
	for name, at := range next {
		if was := c.tables[name]; was != nil && was.base == at.base && maps.EqualFunc(was.found, at.found, sameHost) && slices.Equal(was.absent, at.absent) {
			next[name] = was
		} else {
			at.table = at.base.With(at.found, at.absent)
		}
		tables[name] = next[name].table
	}
	c.tables = next
}

func sameHost(a, b route.Found) bool { return a.VirtualHost == b.VirtualHost }

// wantedClusters are the clusters that something refers to, in its last version or in the one in force.
func (c *Compiler) wantedClusters(names map[string]bool) {
	for _, e := range c.listeners {
		e.clusters(names)
	}
	for _, e := range c.routes {
		e.clusters(names)
	}
	for _, e := range c.hosts {
		e.clusters(names)
	}
}

func (e *entry[T]) clusters(names map[string]bool) {
	maps.Copy(names, e.needs.clusters)
	if e.inForce != nil {
		maps.Copy(names, e.inForce.clusters)
	}
}

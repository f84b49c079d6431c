package compile

import (
	"fmt"
	"maps"
	"slices"

	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/nametable"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/dns/names"
)

// makeNames makes the names of one table. Several domains may tell of one name: it has the addresses of all.
func (c *Compiler) makeNames(_ *builder, m *dnsv3.DnsTable, next, _ *entry[*names.Zone]) error {
	zone := &names.Zone{Name: next.resource.Name, Domains: map[string]*names.Record{}}
	for i, domain := range m.GetVirtualDomains() {
		path := fmt.Sprintf("virtual_domains[%d]", i)
		name, ok := nametable.Name(domain.GetName())
		if !ok {
			return values.Wrong(path+".name", "%q is not a name that can be asked for", domain.GetName())
		}
		r := zone.Domains[name]
		if r == nil {
			r = &names.Record{}
			zone.Domains[name] = r
		}
		if ttl := domain.GetAnswerTtl(); ttl != nil {
			r.TTL = ttl.AsDuration()
		}
		if r.TTL < 0 {
			return values.Wrong(path+".answer_ttl", "%s is less than nothing", r.TTL)
		}
		list, ok := domain.GetEndpoint().GetEndpointConfig().(*dnsv3.DnsTable_DnsEndpoint_AddressList)
		if !ok {
			return values.Wrong(path+".endpoint", "only address_list is implemented")
		}
		for j, text := range list.AddressList.GetAddress() {
			a, ok := nametable.Address(text)
			switch {
			case !ok:
				return values.Wrong(fmt.Sprintf("%s.endpoint.address_list.address[%d]", path, j), "%q is not an address", text)
			case a.Is4():
				r.V4 = append(r.V4, a)
			default:
				r.V6 = append(r.V6, a)
			}
		}
	}
	next.made = zone
	return nil
}

// putTheirNames takes all names in the form of Istio's control plane. They come in one message: what cannot be read of it does not take the others away.
func (c *Compiler) putTheirNames(r wire.Resource) error {
	table, ignored, err := nametable.Read(r.Body, c.options.Namespace)
	if err != nil {
		return values.Wrong("resource", "%w", err)
	}
	if r.Body, err = (proto.MarshalOptions{Deterministic: true}).Marshal(table); err != nil {
		return values.Wrong("resource", "%w", err)
	}
	before := c.names[r.Name]
	if err := put(c, c.names, r, table, (*Compiler).makeNames); err != nil {
		return err
	}
	if c.names[r.Name] != before {
		c.ignored += ignored
	}
	return nil
}

// table returns the names of all resources, the same pointer as before where they are the same; nil before the control plane has told of any.
func (c *Compiler) table() *names.Table {
	zones := make(map[string]*names.Zone, len(c.names))
	for name, e := range c.names {
		e.activate(true)
		zones[name] = e.active
	}
	if maps.Equal(zones, c.zones) && (c.last.Names != nil || !c.named) {
		return c.last.Names
	}
	c.zones = zones
	return names.Merge(slices.Collect(maps.Values(zones)))
}

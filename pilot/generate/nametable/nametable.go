// Package nametable tells what a service's names stand for, for proxies that answer their pods' DNS questions. Which services those are is
// decided before.
package nametable

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	dns "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// namesTTL is how long applications may remember an answer, as in Istio.
const namesTTL = 30 * time.Second

// Names is the inputs of what a proxy answers DNS questions for one service with.
type Names struct {
	Service *model.Service
	Domain  string                           // of the cluster
	Local   bool                             // the proxy is of the service's namespace
	Sets    *intern.List[*model.EndpointSet] // the endpoints of a headless one
}

// Make makes the resource, nil where only other servers know the answer: for names of others (ExternalName), hosts that begin with
// a part of a label (which DNS cannot say, nor Istio), services without addresses, and headless ones whose endpoints tell not all of them.
func Make(in Names) *wire.Resource {
	svc, table := in.Service, &dns.DnsTable{}
	add := func(addresses []string, labels ...string) {
		if len(addresses) == 0 {
			return
		}
		for _, form := range in.forms() {
			name := strings.Join(append(labels, form), ".")
			table.VirtualDomains = append(table.VirtualDomains, &dns.DnsTable_DnsVirtualDomain{
				Name: name, AnswerTtl: message.Duration(namesTTL),
				Endpoint: &dns.DnsTable_DnsEndpoint{EndpointConfig: &dns.DnsTable_DnsEndpoint_AddressList{
					AddressList: &dns.DnsTable_AddressList{Address: addresses},
				}},
			})
		}
	}
	switch {
	case svc.Resolution == model.ResolveAlias || svc.DualStack || model.PartialWildcard(svc.Host):
	case svc.Resolution == model.ResolveHeadless:
		all, named := in.pods()
		add(all)
		for _, host := range named {
			add(host.addresses, host.name)
		}
	default:
		add(singles(svc.Addresses))
	}
	if len(table.VirtualDomains) == 0 {
		return nil
	}
	return message.Resource(wire.TypeNames, svc.Host, table)
}

// forms are the names by which the search path of a pod may ask for a service: the last ones are meant by those who ask without it.
func (in Names) forms() []string {
	out := []string{in.Service.Host}
	if in.Service.Entry {
		return out
	}
	return append(out, naming.Shorter(in.Service.Host, in.Domain, in.Local)...)
}

// podName is a pod's own name below a headless service's.
type podName struct {
	name      string
	addresses []string
}

// pods are the addresses of a headless service's pods that take traffic: all, and those of each pod that has a name.
func (in Names) pods() (all []string, named []podName) {
	for set := range in.Sets.All {
		for _, e := range set.Endpoints {
			_, err := netip.ParseAddr(e.Address)
			if err != nil || e.Health != model.Healthy && !in.Service.PublishNotReady || slices.Contains(all, e.Address) {
				continue
			}
			all = append(all, e.Address)
			if e.Hostname == "" {
				continue
			}
			i := slices.IndexFunc(named, func(p podName) bool { return p.name == e.Hostname })
			if i < 0 {
				i, named = len(named), append(named, podName{name: e.Hostname})
			}
			named[i].addresses = append(named[i].addresses, e.Address)
		}
	}
	return all, named
}

// singles are the addresses that are not blocks.
func singles(addresses []string) []string {
	var out []string
	for _, a := range addresses {
		if !naming.IsBlock(a) {
			out = append(out, naming.Address(a))
		}
	}
	return out
}

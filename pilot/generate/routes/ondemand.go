package routes

import (
	"slices"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
)

// OnDemand is a route configuration whose proxies ask for each host that they use.
type OnDemand struct {
	// Configuration has what is for hosts that nobody declared, and says that others are to be asked for.
	Configuration *wire.Resource
	exact         map[string]*answer // by domain
	suffixes      []suffix           // the longest first
}

// answer is a virtual host as a resource.
type answer struct {
	resource *wire.Resource
	host     *route.VirtualHost
}

// suffix is a domain of which the first label may be any.
type suffix struct {
	fixed string
	*answer
}

// MakeOnDemand divides what Make joins. Names are settled among all hosts, as there.
func MakeOnDemand(in Configuration) *OnDemand {
	out := &OnDemand{exact: map[string]*answer{}}
	body := message.Marshal(&route.RouteConfiguration{
		Name: in.Name, ValidateClusters: wrapperspb.Bool(false), IgnorePortInHostMatching: true,
		MaxDirectResponseBodySizeBytes: message.U32(maxDirectBody), Vhds: &route.Vhds{ConfigSource: message.ADS()},
	})
	join := func(host []byte) {
		body = protowire.AppendTag(body, fieldVirtualHosts, protowire.BytesType)
		body = protowire.AppendBytes(body, host)
	}
	hosts := in.Hosts.Slice()
	owners := claims(hosts)
	for _, h := range hosts {
		b := h.without(owners)
		switch {
		case b == nil:
		case owners["*"] == h:
			join(b)
		default:
			out.add(h, &answer{message.Packed(wire.TypeVirtualHost, h.message.Name, b), h.message}, owners)
		}
	}
	if in.CatchAll != "" && owners["*"] == nil {
		join(message.Marshal(catchAll(in.CatchAll, !in.Uncounted)))
	}
	slices.SortStableFunc(out.suffixes, func(a, b suffix) int { return len(b.fixed) - len(a.fixed) })
	out.Configuration = message.Packed(wire.TypeRoute, in.Name, body)
	return out
}

// add enters a host by those of its domains that it owns.
func (o *OnDemand) add(h *VirtualHost, a *answer, owners map[string]*VirtualHost) {
	for _, d := range h.message.Domains {
		if owners[d] != h {
			continue
		}
		if fixed, wild := strings.CutPrefix(strings.ToLower(d), "*"); wild {
			o.suffixes = append(o.suffixes, suffix{fixed, a})
		} else {
			o.exact[strings.ToLower(d)] = a
		}
	}
}

// Find returns the virtual host for a host, in lower case and without a port: the one that says its name, or the longest end of it. Nil: none,
// it is for the configuration's own.
func (o *OnDemand) Find(host string) *wire.Resource {
	if a := o.find(host); a != nil {
		return a.resource
	}
	return nil
}

func (o *OnDemand) find(host string) *answer {
	if a := o.exact[host]; a != nil {
		return a
	}
	for _, s := range o.suffixes {
		if len(host) > len(s.fixed) && strings.HasSuffix(host, s.fixed) {
			return s.answer
		}
	}
	return nil
}

// Clusters returns the clusters to which a host's virtual host leads.
func (o *OnDemand) Clusters(host string) []string {
	a := o.find(host)
	if a == nil {
		return nil
	}
	var out []string
	for _, r := range a.host.Routes {
		to := r.GetRoute()
		if name := to.GetCluster(); name != "" {
			out = append(out, name)
		}
		for _, w := range to.GetWeightedClusters().GetClusters() {
			out = append(out, w.Name)
		}
		for _, m := range to.GetRequestMirrorPolicies() {
			out = append(out, m.Cluster)
		}
	}
	return out
}

package generate

import (
	"slices"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// maxDirectBody is how long the body of a direct response may be.
const maxDirectBody = 1 << 20

// Host is the inputs of a virtual host.
type Host struct {
	Mesh    *model.Mesh
	Class   Class
	Host    string
	Port    uint16
	Service *model.Service // nil: the host is in no registry
	Local   bool           // the client may say the service's name alone
	Aliases *List[*model.Service]
	// AliasClient is the client's namespace, for the short names of Aliases; empty where there are none.
	AliasClient string
	// Virtuals are the VirtualServices to obey: at most one in the mesh, all for the host at a gateway.
	Virtuals *List[*model.VirtualService]
	Gateways *List[string] // by which of a VirtualService's gateways the request came
	// Client decides about rules for certain sources. It is zero where no rule asks.
	Client  Outbound
	Targets *List[target]
	// TLS is whether the request came over TLS; RequireTLS redirects it if it did not.
	TLS, RequireTLS bool
}

// target is where a destination leads.
type target struct {
	ref     *model.Destination
	cluster string
	hash    *model.HashPolicy
}

// virtualHost is a finished virtual host, ready to be joined with others.
type virtualHost struct {
	message *route.VirtualHost
	body    []byte
	primary int // how many of the domains are the host's own: they win over another's short names
}

func newVirtualHost(in Host) *virtualHost {
	domains := in.domains()
	message := &route.VirtualHost{
		Name: in.Host + ":" + portString(in.Port), Domains: domains, IncludeRequestAttemptCount: true, Routes: in.routes(),
	}
	if in.RequireTLS {
		message.RequireTls = route.VirtualHost_ALL
	}
	return &virtualHost{message: message, body: marshal(message), primary: 1}
}

// domains are the names that clients call the host by. The first is its own.
func (in Host) domains() []string {
	out := []string{in.Host}
	add := func(svc *model.Service, local bool) {
		out = append(out, serviceDomains(in.Mesh, svc, local)...)
	}
	if in.Service != nil {
		add(in.Service, in.Local)
	}
	for alias := range in.Aliases.all {
		out = append(out, alias.Host)
		add(alias, alias.Namespace == in.AliasClient)
	}
	seen := map[string]bool{}
	unique := out[:0]
	for _, d := range out {
		if !seen[d] {
			seen[d] = true
			unique = append(unique, d)
		}
	}
	return unique
}

// serviceDomains are the other names of a service: shorter ones, and its addresses.
func serviceDomains(mesh *model.Mesh, svc *model.Service, local bool) []string {
	var out []string
	if !svc.Entry {
		out = append(out, svc.Host+".")
		suffix := ".svc." + mesh.ClusterDomain
		if base, ok := strings.CutSuffix(svc.Host, suffix); ok {
			out = append(out, base+".svc", base)
			if local {
				out = append(out, svc.Name)
			}
		}
		if svc.Resolution == model.ResolveHeadless {
			for _, d := range append([]string{svc.Host}, out...) {
				out = append(out, "*."+d)
			}
		}
	}
	for _, a := range svc.Addresses {
		if isCIDR(a) {
			continue
		}
		if a = plainAddress(a); strings.Contains(a, ":") {
			a = "[" + a + "]"
		}
		out = append(out, a)
	}
	return out
}

// Routes is the inputs of a route configuration.
type Routes struct {
	Name  string
	Hosts *List[*virtualHost]
	// CatchAll is the cluster for hosts that nobody declared; BlackHoleCluster answers 502. "": there is none, 404.
	CatchAll string
}

// Field numbers of envoy.config.route.v3.RouteConfiguration.
const fieldVirtualHosts = 2

// routeConfiguration joins virtual hosts, each of which was marshalled once. A name that two hosts claim goes to the one
// whose own it is, otherwise to the first.
func routeConfiguration(in Routes) *wire.Resource {
	body := marshal(&route.RouteConfiguration{
		Name: in.Name, ValidateClusters: wrapperspb.Bool(false), IgnorePortInHostMatching: true,
		MaxDirectResponseBodySizeBytes: u32(maxDirectBody),
	})
	join := func(host []byte) {
		body = protowire.AppendTag(body, fieldVirtualHosts, protowire.BytesType)
		body = protowire.AppendBytes(body, host)
	}
	hosts := in.Hosts.slice()
	size := 0
	for _, h := range hosts {
		size += len(h.body) + 8 // tag and length
	}
	body = slices.Grow(body, size)
	owners := claims(hosts)
	for _, h := range hosts {
		if b := h.without(owners); b != nil {
			join(b)
		}
	}
	if in.CatchAll != "" && owners["*"] == nil {
		join(marshal(catchAll(in.CatchAll)))
	}
	return packed(wire.TypeRoute, in.Name, body)
}

// claims settles which host owns each domain.
func claims(hosts []*virtualHost) map[string]*virtualHost {
	count := 0
	for _, h := range hosts {
		count += len(h.message.Domains)
	}
	owners := make(map[string]*virtualHost, count)
	claim := func(h *virtualHost, domains []string) {
		for _, d := range domains {
			if owners[d] == nil {
				owners[d] = h
			}
		}
	}
	for _, h := range hosts {
		claim(h, h.message.Domains[:h.primary])
	}
	for _, h := range hosts {
		claim(h, h.message.Domains[h.primary:])
	}
	return owners
}

// without returns the host's bytes without the domains that others own; nil: nothing is left.
func (h *virtualHost) without(owners map[string]*virtualHost) []byte {
	all := true
	for _, d := range h.message.Domains {
		all = all && owners[d] == h
	}
	if all {
		return h.body
	}
	var kept []string
	for _, d := range h.message.Domains {
		if owners[d] == h {
			kept = append(kept, d)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	fewer := proto.CloneOf(h.message)
	fewer.Domains = kept
	return marshal(fewer)
}

// catchAll answers for hosts that nobody declared.
func catchAll(cluster string) *route.VirtualHost {
	if cluster == wire.ClusterBlackHole {
		return &route.VirtualHost{Name: "block_all", Domains: []string{"*"}, Routes: []*route.Route{{
			Name: "block_all", Match: anyPath(), Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{Status: 502}},
		}}}
	}
	return &route.VirtualHost{Name: "allow_any", Domains: []string{"*"}, IncludeRequestAttemptCount: true, Routes: []*route.Route{{
		Name: "allow_any", Match: anyPath(), Action: &route.Route_Route{Route: &route.RouteAction{
			ClusterSpecifier: &route.RouteAction_Cluster{Cluster: cluster}, Timeout: duration(0),
			MaxStreamDuration: grpcTimeout(0),
		}},
	}}}
}

func anyPath() *route.RouteMatch {
	return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}}
}

func grpcTimeout(limit model.Duration) *route.RouteAction_MaxStreamDuration {
	return &route.RouteAction_MaxStreamDuration{GrpcTimeoutHeaderMax: duration(limit)}
}

// Package routes says where requests go: virtual hosts and their rules, joined into route configurations. Which hosts and rules a proxy has
// is decided before.
package routes

import (
	"net/netip"
	"slices"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// maxDirectBody is how long the body of a direct response may be.
const maxDirectBody = 1 << 20

// Host is the inputs of a virtual host.
type Host struct {
	Mesh    *model.Mesh
	Class   naming.Class
	Host    string
	Port    uint16
	Service *model.Service // nil: the host is in no registry
	Local   bool           // the client may say the service's name alone
	// Alone is whether connections to the service's own address lead here, so that every name is a name of the service.
	Alone   bool
	Aliases *intern.List[*model.Service]
	// AliasClient is the client's namespace, for the short names of Aliases; empty where there are none.
	AliasClient string
	// Virtuals are the VirtualServices to obey: at most one in the mesh, which Obeys; all for the host at a gateway.
	Virtuals *intern.List[*model.VirtualService]
	Gateways *intern.List[string] // by which of a VirtualService's gateways the request came
	// Client decides about rules for certain sources. It is zero where no rule asks.
	Client  Client
	Targets *intern.List[Target]
	// Hash is what requests to the service itself are hashed by, where no rule says where they go; nil: nothing.
	Hash *model.HashKey
	// TLS is whether the request came over TLS; RequireTLS redirects it if it did not.
	TLS, RequireTLS bool
}

// Target is where a destination leads.
type Target struct {
	Ref     *model.Destination // nil: the service itself, where there are no rules
	Cluster string             // "": the service's own
	Hash    *model.HashKey     // what requests are hashed by there; nil: nothing
	Session *model.Session     // by what clients stay with its endpoints; nil: they do not
}

// VirtualHost is a finished virtual host, ready to be joined with others.
type VirtualHost struct {
	message *route.VirtualHost
	body    []byte
	primary int // how many of the domains are the host's own: they win over another's short names
}

// NewVirtualHost makes a virtual host.
func NewVirtualHost(in Host) *VirtualHost {
	domains := in.domains()
	out := &route.VirtualHost{
		Name: in.Host + ":" + naming.Port(in.Port), Domains: domains, IncludeRequestAttemptCount: !in.Mesh.Headers.NoAttemptCount, Routes: in.routes(),
	}
	if in.RequireTLS {
		out.RequireTls = route.VirtualHost_ALL
	}
	return &VirtualHost{message: out, body: message.Marshal(out), primary: 1}
}

// Answers reports whether the host has routes, or sends its clients to HTTPS. One that does neither would only hide what else its names may mean.
func (h *VirtualHost) Answers() bool {
	return len(h.message.Routes) > 0 || h.message.RequireTls != route.VirtualHost_NONE
}

// domains are the names that clients call the host by. The first is its own.
func (in Host) domains() []string {
	if in.Alone {
		return []string{"*"}
	}
	out := []string{in.Host}
	add := func(svc *model.Service, local bool) {
		out = append(out, serviceDomains(in.Mesh, svc, local)...)
	}
	if in.Service != nil {
		add(in.Service, in.Local)
	}
	for alias := range in.Aliases.All {
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

// Local reports whether a client may say the first part of a service's name alone: what is of its namespace, or named as if it were.
func Local(mesh *model.Mesh, svc *model.Service, client string) bool {
	if !svc.Entry {
		return svc.Namespace == client
	}
	name, namespace := inCluster(mesh, svc.Host)
	return name != "*" && namespace != "" && namespace == client
}

// inCluster divides the name of a host that is named as Services are.
func inCluster(mesh *model.Mesh, host string) (name, namespace string) {
	if base, ok := strings.CutSuffix(host, ".svc."+mesh.ClusterDomain); ok {
		name, namespace, _ = strings.Cut(base, ".")
	}
	return name, namespace
}

// serviceDomains are the other names of a service: with the dot at its end that DNS has, shorter ones, and its addresses.
func serviceDomains(mesh *model.Mesh, svc *model.Service, local bool) []string {
	var out []string
	if _, err := netip.ParseAddr(svc.Host); err != nil {
		out = append(out, svc.Host+".")
	}
	if _, namespace := inCluster(mesh, svc.Host); namespace != "" {
		out = append(out, naming.Shorter(svc.Host, mesh.ClusterDomain, local)...)
	}
	if svc.Resolution == model.ResolveHeadless {
		for _, d := range append([]string{svc.Host}, out...) {
			out = append(out, "*."+d)
		}
	}
	for _, a := range svc.Addresses {
		if naming.IsBlock(a) {
			continue
		}
		if a = naming.Address(a); strings.Contains(a, ":") {
			a = "[" + a + "]"
		}
		out = append(out, a)
	}
	return out
}

// Configuration is the inputs of a route configuration.
type Configuration struct {
	Name  string
	Hosts *intern.List[*VirtualHost]
	// CatchAll is the cluster for hosts that nobody declared; BlackHoleCluster answers 502. "": there is none, 404.
	CatchAll string
	// Uncounted is whether CatchAll is not told which try a request is.
	Uncounted bool
	// EdgePort is the port of a gateway's server that no VirtualService has a host of; 0: there are hosts, or these are a sidecar's routes.
	EdgePort uint16
}

// Field numbers of envoy.config.route.v3.RouteConfiguration.
const fieldVirtualHosts = 2

// Make joins virtual hosts, each of which was marshalled once. A name that two hosts claim goes to the one
// whose own it is, otherwise to the first.
func Make(in Configuration) *wire.Resource {
	body := message.Marshal(&route.RouteConfiguration{
		Name: in.Name, ValidateClusters: wrapperspb.Bool(false), IgnorePortInHostMatching: true,
		MaxDirectResponseBodySizeBytes: message.U32(maxDirectBody),
	})
	join := func(host []byte) {
		body = protowire.AppendTag(body, fieldVirtualHosts, protowire.BytesType)
		body = protowire.AppendBytes(body, host)
	}
	hosts := in.Hosts.Slice()
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
	if in.EdgePort != 0 && owners["*"] == nil {
		join(message.Marshal(blackhole(in.EdgePort)))
	}
	if in.CatchAll != "" && owners["*"] == nil {
		join(message.Marshal(catchAll(in.CatchAll, !in.Uncounted)))
	}
	return message.Packed(wire.TypeRoute, in.Name, body)
}

// claims settles which host owns each domain.
func claims(hosts []*VirtualHost) map[string]*VirtualHost {
	count := 0
	for _, h := range hosts {
		count += len(h.message.Domains)
	}
	owners := make(map[string]*VirtualHost, count)
	claim := func(h *VirtualHost, domains []string) {
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
func (h *VirtualHost) without(owners map[string]*VirtualHost) []byte {
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
	return message.Marshal(fewer)
}

// Misdirected answers for hosts that are another server's of the same port: their clients are to connect for them (RFC 9110, 15.5.20).
func Misdirected(hosts *intern.List[string]) *VirtualHost {
	out := &route.VirtualHost{Name: "misdirected", Domains: hosts.Slice(), Routes: []*route.Route{{
		Name: "misdirected", Match: message.AnyPath(), Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{Status: 421}},
	}}}
	return &VirtualHost{message: out, body: message.Marshal(out), primary: len(out.Domains)}
}

// blackhole is all that a gateway's port has while no VirtualService has a host of it. Without routes every request is answered 404.
func blackhole(port uint16) *route.VirtualHost {
	return &route.VirtualHost{Name: "blackhole:" + naming.Port(port), Domains: []string{"*"}}
}

// catchAll answers for hosts that nobody declared.
func catchAll(cluster string, counted bool) *route.VirtualHost {
	if cluster == wire.ClusterBlackHole {
		return &route.VirtualHost{Name: "block_all", Domains: []string{"*"}, Routes: []*route.Route{{
			Name: "block_all", Match: message.AnyPath(), Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{Status: 502}},
		}}}
	}
	return &route.VirtualHost{Name: "allow_any", Domains: []string{"*"}, IncludeRequestAttemptCount: counted, Routes: []*route.Route{{
		Name: "allow_any", Match: message.AnyPath(), Action: &route.Route_Route{Route: &route.RouteAction{
			ClusterSpecifier: &route.RouteAction_Cluster{Cluster: cluster}, Timeout: message.Duration(0),
			MaxStreamDuration: message.GRPCTimeout(0),
		}},
	}}}
}

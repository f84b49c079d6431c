package explain

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/generate/listeners"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// relay sends bytes on.
func (w *walk) relay(h *Hop, p *replica.Proxy, t *config.TCP, c *exchange.Connection, r Request) {
	total := 0.0
	for _, to := range t.Clusters {
		total += float64(max(to.Weight, 1))
	}
	r.key, r.pin = upstream.Key{Name: t.Name(c.SNI)}, exchange.Pin{}
	if t.HashSourceIP {
		r.key.Hash, r.key.Given = route.HashAddr(c.Source.Addr()), true
	}
	r.relayed = true
	h.Route = &Route{Does: "carries bytes", Timeout: "none", Retries: "none"}
	for _, to := range t.Clusters {
		w.forward(h, p, to.Cluster, c, r, h.Share*float64(max(to.Weight, 1))/total)
	}
}

// forward follows what goes to a cluster.
func (w *walk) forward(h *Hop, p *replica.Proxy, name string, c *exchange.Connection, r Request, share float64) {
	cluster := p.Config.Clusters[name]
	t := &Target{Cluster: name, Share: share}
	h.Targets = append(h.Targets, t)
	w.settings(t, p, cluster)
	end := func(v Verdict) {
		v.Where, t.End = h.Pod, &v
		w.ends = append(w.ends, ending{v, share})
	}
	switch {
	case isBlackHole(name):
		v := failed(exchange.BlackHole, "nobody declared the destination, and outboundTrafficPolicy is REGISTRY_ONLY: the connection is closed",
			"declare the host in a ServiceEntry")
		v.Status = 0
		end(v)
		return
	case cluster == nil:
		end(w.noCluster(p, name))
		return
	case inboundTo(name):
		w.local(h, t, cluster, c, r, share)
		return
	}
	ends := reach(p.Config, cluster, &r, c.Onward())
	var all []arrival
	shares := map[netip.AddrPort]float64{}
	for _, e := range ends {
		s := socket(cluster, e.Endpoint)
		t.Endpoints = append(t.Endpoints, endpointWords(e, s))
		if e.share > 0 {
			a := arrival{source: w.from(p), to: e.Address, secure: s, endpoint: e.Endpoint}
			all, shares[a.to] = append(all, a), e.share
		}
	}
	switch {
	case len(all) == 0:
		end(w.noEndpoint(t, p, len(ends)))
	case cluster.Discovery == upstream.OriginalDst && all[0].secure == nil:
		hop := &Hop{Pod: h.Pod, Side: "client", Share: share, Address: all[0].to.String()}
		w.network(hop, c.Source, all[0].to, r, share)
		t.Hops = hop.flat()
	default:
		w.fan(t, all, r, share, shares)
	}
}

// flat are the hops that follow, without the step through the cluster's network.
func (h *Hop) flat() []*Hop {
	var out []*Hop
	for _, t := range h.Targets {
		out = append(out, t.Hops...)
	}
	if len(out) == 0 {
		out = append(out, h)
	}
	return out
}

// local delivers to the pod's own application.
func (w *walk) local(h *Hop, t *Target, cluster *upstream.Config, c *exchange.Connection, r Request, share float64) {
	to := c.Destination
	if len(cluster.Endpoints) > 0 {
		to = cluster.Endpoints[0].Address
		if path := cluster.Endpoints[0].Path; path != "" {
			hop := &Hop{Pod: h.Pod, Side: "application", Share: share, Address: path}
			w.delivered(hop, r, c.Destination, share, "through a unix socket")
			t.End = hop.End
			return
		}
	}
	how := "in plaintext"
	if peer := c.Peer(); peer != nil {
		how = "over mesh mutual TLS, from " + peer.URI
	}
	hop := &Hop{Pod: h.Pod, Side: "application", Share: share, Address: to.String()}
	w.delivered(hop, r, to, share, how)
	t.End = hop.End
}

// from is a proxy's own address.
func (w *walk) from(p *replica.Proxy) netip.AddrPort {
	if len(p.Pod.IPs) == 0 {
		return address("")
	}
	return address(p.Pod.IPs[0])
}

// fan follows what goes to several addresses. Pods whose proxies are told the same are one hop; shares nil: all get the same.
func (w *walk) fan(t *Target, all []arrival, r Request, share float64, shares map[netip.AddrPort]float64) {
	type kind struct {
		inbound listeners.Inbound
		role    replica.Role
		port    uint16
		plain   bool
		named   bool
		alone   netip.AddrPort
	}
	first := map[kind]*Hop{}
	var order []kind
	members, parts, froms := map[kind]int{}, map[kind]float64{}, map[kind]arrival{}
	for _, a := range all {
		k := kind{port: a.to.Port(), plain: a.secure == nil, named: a.endpoint != nil && a.endpoint.Identity != "", alone: a.to}
		if pod := w.mesh.At(a.to.Addr().Unmap().String()); pod != nil {
			k.role, k.inbound = pod.Role, w.mesh.Scope(pod).Inbound
			if pod.Role != replica.Gateway {
				k.alone = netip.AddrPort{}
			}
		}
		part := 1 / float64(len(all))
		if shares != nil {
			part = shares[a.to]
		}
		if members[k] == 0 {
			order, froms[k] = append(order, k), a
		}
		members[k]++
		parts[k] += part
	}
	for _, k := range order {
		first[k] = w.arrive(froms[k], r, share*parts[k])
		first[k].Like = members[k] - 1
		t.Hops = append(t.Hops, first[k])
	}
}

// reached is an endpoint and its share of a cluster's requests.
type reached struct {
	*exchange.Endpoint
	share float64
}

// samples is how often the balancer is asked; shares are what it answers.
const samples = 4000

// reach are the endpoints of a cluster, and what the proxy's own balancer makes of them.
func reach(c *config.Config, cluster *upstream.Config, r *Request, original netip.AddrPort) []reached {
	if cluster.Discovery == upstream.Named {
		name, port, ok := cluster.Lead(r.key.Name)
		if !ok {
			return nil
		}
		return []reached{{&exchange.Endpoint{Host: name, Address: netip.AddrPortFrom(netip.Addr{}, port), Weight: 1}, 1}}
	}
	known := cluster.Endpoints
	if cluster.Assignment != "" && c.Endpoints[cluster.Assignment] != nil {
		known = c.Endpoints[cluster.Assignment].Endpoints
	}
	if cluster.Discovery == upstream.OriginalDst && original.Port() == 0 {
		return nil
	}
	if cluster.Discovery == upstream.OriginalDst {
		original = cluster.Dials(original)
		for _, e := range known {
			if e.Address == original {
				return []reached{{e, 1}}
			}
		}
		return []reached{{&exchange.Endpoint{Address: original, Weight: 1}, 1}}
	}
	asked := *cluster
	asked.Discovery, asked.Health, asked.Assignment, asked.Endpoints = upstream.Static, nil, "", nil
	out, at := make([]reached, len(known)), map[string]int{}
	for i, e := range known {
		named, name := *e, e.Address.String()
		if !e.Address.Addr().IsValid() { // hosts that are looked up have no address that tells them apart
			name = strconv.Itoa(i)
			named.Path = name
		}
		out[i].Endpoint, at[name], asked.Endpoints = e, i, append(asked.Endpoints, &named)
	}
	live := upstream.NewRegistry(upstream.Options{}).Apply(map[string]*upstream.Config{"": &asked}, nil).Get("")
	if host := live.Pinned(r.pin.Address); host != nil {
		out[at[host.Endpoint().Key()]].share = 1
		return out
	}
	for range samples {
		host, o := live.PickFor(r.key, netip.AddrPort{}, nil, 1)
		if o != exchange.OK {
			return out
		}
		out[at[host.Endpoint().Key()]].share += 1.0 / samples
	}
	return out
}

// secured is how a cluster secures a connection to an endpoint.
type secured struct {
	upstream.Handshaker
	cluster *upstream.Config
}

// socket is the cluster's transport socket for an endpoint; nil: plaintext.
func socket(c *upstream.Config, e *exchange.Endpoint) *secured {
	for _, s := range c.Sockets {
		matches := true
		for k, v := range s.Match {
			matches = matches && (e.Metadata[k] == v || k == "tlsMode" && e.TLSMode == v)
		}
		if !matches {
			continue
		}
		if s.TLS == nil {
			return nil
		}
		return &secured{s.TLS, c}
	}
	return nil
}

// client secures a connection as the client's proxy does.
func (s *secured) client(e *exchange.Endpoint, r *Request) replica.Client {
	protocol, name := exchange.TCP, ""
	if r.http && !r.relayed {
		if protocol = r.protocol; s.cluster.HostSNI {
			name, _, _ = strings.Cut(strings.ToLower(r.authority), ":")
		}
	}
	return func(ctx context.Context, raw net.Conn) error {
		_, _, err := s.Handshake(ctx, raw, e, name, protocol)
		return err
	}
}

// mesh reports whether it is mesh mutual TLS.
func (s *secured) mesh() bool {
	c, ok := s.Handshaker.(*mtls.Client)
	return ok && c.Config().Trust.Mesh != nil
}

// split takes a cluster's name apart: outbound|port|subset|host.
func split(cluster string) (host, subset string, port uint16, ok bool) {
	parts := strings.Split(cluster, "|")
	if len(parts) != 4 || parts[0] != "outbound" {
		return "", "", 0, false
	}
	n, err := strconv.ParseUint(parts[1], 10, 16)
	return parts[3], parts[2], uint16(n), err == nil
}

// service is what a cluster stands for in the eyes of a proxy, and the DestinationRule that it obeys.
func (w *walk) service(p *replica.Proxy, cluster string) (svc *model.Service, rule *model.DestinationRule, subset string, port uint16) {
	host, subset, port, ok := split(cluster)
	if !ok {
		return nil, nil, "", 0
	}
	if svc = w.mesh.Index.Service(p.Scope.Outbound, host, w.mesh.Memo); svc != nil {
		rule = w.mesh.Index.Obeyed(p.Scope.Outbound, svc)
	}
	return svc, rule, subset, port
}

// noCluster says why a route leads to a cluster that is not there.
func (w *walk) noCluster(p *replica.Proxy, name string) Verdict {
	svc, rule, subset, port := w.service(p, name)
	host, _, _, _ := split(name)
	reason, advice := fmt.Sprintf("the rule leads to %s, which no Service or ServiceEntry that the client sees has", host), "correct the destination's host, or export what has it to the client's namespace"
	switch {
	case svc == nil:
	case svc.Port(port) == nil:
		reason, advice = fmt.Sprintf("the rule leads to port %d of %s, which has no such port", port, host), "correct the destination's port"
	case subset != "" && rule == nil:
		reason, advice = fmt.Sprintf("the rule leads to subset %q of %s, and no DestinationRule for that host is in force", subset, host), "define the subset in a DestinationRule"
	case subset != "":
		reason, advice = fmt.Sprintf("the rule leads to subset %q of %s, which %s does not define", subset, host, ruleNames(rule)), "define the subset there, or correct its name in the rule"
	}
	return failed(exchange.NoCluster, reason, advice)
}

// noEndpoint says why a cluster has nobody to send to.
func (w *walk) noEndpoint(t *Target, p *replica.Proxy, known int) Verdict {
	svc, rule, subset, _ := w.service(p, t.Cluster)
	reason, advice := "the cluster has no endpoint", "see which pods the Service's selector chooses"
	switch {
	case known > 0:
		reason, advice = fmt.Sprintf("none of the %d endpoints is fit for use", known), "see why the pods are not ready, and what locality settings exclude"
	case subset != "" && rule != nil:
		reason, advice = fmt.Sprintf("no endpoint has the labels of subset %q of %s (%s)", subset, ruleNames(rule), labelsOf(rule, subset)), "correct the subset's labels, or those of the pods"
	case svc != nil && len(svc.Selector) > 0:
		advice = fmt.Sprintf("no ready pod has the labels of the selector of Service %s (%s)", svc.From, labelText(svc.Selector))
	}
	return failed(exchange.NoHealthyUpstream, reason, advice)
}

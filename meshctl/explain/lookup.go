package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// somewhere is the address of hosts that are in no registry: for documentation (RFC 5737), so nobody's.
const somewhere = "192.0.2.1"

// lookup is the cluster's DNS for a client in a namespace. found is false where a name can have no address.
func lookup(m *replica.Mesh, host, namespace string) (ip netip.Addr, what string, found bool) {
	return follow(m, host, namespace, nil)
}

// follow is lookup by way of Services of type ExternalName. Names that lead to themselves have no address.
func follow(m *replica.Mesh, host, namespace string, by []*model.Service) (ip netip.Addr, what string, found bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), host + " is an address", true
	}
	for _, name := range searched(host, namespace, m.Snapshot.Mesh.ClusterDomain) {
		for _, svc := range m.Snapshot.Services {
			if ip, what := resolve(m, svc, name, namespace, by); ip.IsValid() {
				return ip, what, true
			}
			if svc.Host == name && !svc.Entry && svc.Resolution == model.ResolveHeadless {
				return ip, fmt.Sprintf("Service %s is headless, and has no pod that is ready: its name has no address", svc.From), false
			}
		}
	}
	if inCluster(m, host) {
		return ip, fmt.Sprintf("no Service has the name %s in the cluster's DNS", host), false
	}
	return netip.MustParseAddr(somewhere), host + " is a host outside; " + somewhere + " stands for its address", true
}

// searched are the names that a resolver tries, as the search list of a pod has it.
func searched(host, namespace, domain string) []string {
	host = strings.TrimSuffix(host, ".")
	return []string{host, host + "." + namespace + ".svc." + domain, host + ".svc." + domain, host + "." + domain}
}

// inCluster reports whether a name can only be one of the cluster's.
func inCluster(m *replica.Mesh, host string) bool {
	parts := strings.Split(host, ".")
	if len(parts) == 1 || strings.HasSuffix(host, "."+m.Snapshot.Mesh.ClusterDomain) || parts[len(parts)-1] == "svc" {
		return true
	}
	return len(parts) == 2 && replica.NamespaceLabels(m.Inputs, parts[1]) != nil
}

// resolve is the address that a service gives a name; the zero Addr: none.
func resolve(m *replica.Mesh, svc *model.Service, name, namespace string, by []*model.Service) (netip.Addr, string) {
	kind := "Service"
	if svc.Entry {
		kind = "ServiceEntry"
	}
	if svc.Host != name {
		if svc.Resolution == model.ResolveHeadless && strings.HasSuffix(name, "."+svc.Host) {
			return headless(m, svc, strings.TrimSuffix(name, "."+svc.Host))
		}
		return netip.Addr{}, ""
	}
	switch {
	case slices.Contains(by, svc):
	case svc.Resolution == model.ResolveAlias:
		if ip, what, found := follow(m, svc.AliasOf, namespace, append(slices.Clip(by), svc)); found {
			return ip, fmt.Sprintf("%s is Service %s, of type ExternalName: %s", name, svc.From, what)
		}
		return netip.Addr{}, ""
	case svc.Resolution == model.ResolveHeadless:
		return headless(m, svc, "")
	}
	for _, a := range svc.Addresses {
		if ip, err := netip.ParseAddr(strings.TrimSuffix(a, "/32")); err == nil {
			return ip.Unmap(), fmt.Sprintf("%s is %s (%s %s)", name, ip, kind, svc.From)
		}
	}
	if svc.Entry {
		return netip.MustParseAddr(somewhere), fmt.Sprintf("%s is a host of ServiceEntry %s; %s stands for its address", name, svc.From, somewhere)
	}
	return netip.Addr{}, ""
}

// headless finds the pod of a name, or any.
func headless(m *replica.Mesh, svc *model.Service, pod string) (netip.Addr, string) {
	for i := range svc.Ports {
		set := m.Endpoints.Sets[model.EndpointKey{Host: svc.Host, Namespace: svc.Namespace, Port: svc.Ports[i].Number}]
		if set == nil {
			continue
		}
		for _, e := range set.Endpoints {
			ready := e.Health == model.Healthy || svc.PublishNotReady
			if ip, err := netip.ParseAddr(e.Address); err == nil && ready && (pod == "" || e.Workload.Pod == pod) {
				return ip.Unmap(), fmt.Sprintf("%s is headless: %s is one of its pods, %s", replica.Object("Service", svc.From), ip, e.Workload.Pod)
			}
		}
	}
	return netip.Addr{}, ""
}

// behind is the port on which a gateway's pod serves a port of its Service.
func behind(m *replica.Mesh, p *replica.Pod, port uint16) uint16 {
	for key, set := range m.Endpoints.Sets {
		if key.Port != port {
			continue
		}
		if i := slices.IndexFunc(set.Endpoints, func(e *model.Endpoint) bool { return slices.Contains(p.IPs, e.Address) }); i >= 0 {
			return set.Endpoints[i].Port
		}
	}
	return port
}

package balancer

import (
	"fmt"
	"net/netip"
	"sort"

	core "k8s.io/api/core/v1"
)

// Assign chooses an address of the pool for every Service of type LoadBalancer without a class of its own, by namespace and name. What
// a Service already has it keeps; what it asks for (spec.loadBalancerIP) it gets where that is free.
func Assign(pool netip.Prefix, services []*core.Service) (map[string]netip.Addr, error) {
	given, taken := map[string]netip.Addr{}, map[netip.Addr]bool{}
	var waiting []*core.Service
	take := func(s *core.Service, text string) bool {
		a, err := netip.ParseAddr(text)
		if err != nil || !pool.Contains(a) || taken[a] {
			return false
		}
		given[s.Namespace+"/"+s.Name], taken[a] = a, true
		return true
	}
	for _, s := range sorted(services) {
		if held := s.Status.LoadBalancer.Ingress; len(held) == 0 || !take(s, held[0].IP) {
			waiting = append(waiting, s)
		}
	}
	next := pool.Masked().Addr().Next()
	for _, s := range waiting {
		if take(s, s.Spec.LoadBalancerIP) {
			continue
		}
		for taken[next] {
			next = next.Next()
		}
		if !take(s, next.String()) {
			return nil, fmt.Errorf("the pool %s has no address left for service %s/%s", pool, s.Namespace, s.Name)
		}
	}
	return given, nil
}

// sorted are the Services that want an address, oldest first, so that the outcome does not depend on the order of a list.
func sorted(services []*core.Service) []*core.Service {
	var out []*core.Service
	for _, s := range services {
		if s.Spec.Type == core.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && s.DeletionTimestamp == nil {
			out = append(out, s)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
	})
	return out
}

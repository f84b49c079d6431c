// Package balancing reads from xDS messages by what balancers choose: hashes, the sizes of their tables, and how new endpoints warm up. It chooses nobody.
package balancing

import (
	"fmt"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
)

// Sizes where none is given, as in Envoy.
const (
	defaultRing   = 1024
	defaultMaglev = 65_537
)

// HashPolicies reads what of a request hashing balancers choose by.
func HashPolicies(in []*routev3.RouteAction_HashPolicy) ([]route.HashPolicy, error) {
	var out []route.HashPolicy
	for i, p := range in {
		made := route.HashPolicy{Terminal: p.GetTerminal()}
		switch p.GetPolicySpecifier().(type) {
		case *routev3.RouteAction_HashPolicy_Header_:
			made.Kind, made.Name = route.HashHeader, strings.ToLower(p.GetHeader().GetHeaderName())
		case *routev3.RouteAction_HashPolicy_Cookie_:
			made.Kind, made.Name, made.Cookie = route.HashCookie, p.GetCookie().GetName(), newCookie(p.GetCookie())
		case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
			if !p.GetConnectionProperties().GetSourceIp() {
				continue
			}
			made.Kind = route.HashSourceIP
		case *routev3.RouteAction_HashPolicy_QueryParameter_:
			made.Kind, made.Name = route.HashQuery, p.GetQueryParameter().GetName()
		default:
			return nil, values.Wrong(fmt.Sprintf("hash_policy[%d]", i), "a policy needs a source that is implemented")
		}
		if made.Name == "" && made.Kind != route.HashSourceIP {
			return nil, values.Wrong(fmt.Sprintf("hash_policy[%d]", i), "its source has no name")
		}
		out = append(out, made)
	}
	return out, nil
}

// newCookie is what a client without the cookie is given; nil: nothing, where it has no ttl.
func newCookie(in *routev3.RouteAction_HashPolicy_Cookie) *route.Cookie {
	if in.GetTtl() == nil {
		return nil
	}
	out := &route.Cookie{TTL: in.GetTtl().AsDuration(), Path: in.GetPath()}
	for _, a := range in.GetAttributes() {
		out.Attributes = append(out.Attributes, [2]string{a.GetName(), a.GetValue()})
	}
	return out
}

// RingSizes reads ring_hash_lb_config.
func RingSizes(in *cluster.Cluster_RingHashLbConfig) (hashing.Sizes, error) {
	const field = "ring_hash_lb_config"
	out := hashing.Sizes{Size: size(in.GetMinimumRingSize(), defaultRing), Most: size(in.GetMaximumRingSize(), hashing.MaxRing)}
	switch {
	case in.GetHashFunction() != cluster.Cluster_RingHashLbConfig_XX_HASH:
		return out, values.Wrong(field+".hash_function", "%s is not implemented", in.GetHashFunction())
	case out.Size > hashing.MaxRing:
		return out, values.Wrong(field+".minimum_ring_size", "%d is more than %d", out.Size, hashing.MaxRing)
	case out.Most > hashing.MaxRing:
		return out, values.Wrong(field+".maximum_ring_size", "%d is more than %d", out.Most, hashing.MaxRing)
	case out.Size > out.Most:
		return out, values.Wrong(field+".minimum_ring_size", "%d is more than maximum_ring_size, %d", out.Size, out.Most)
	}
	return out, nil
}

// MaglevSizes reads maglev_lb_config.
func MaglevSizes(in *cluster.Cluster_MaglevLbConfig) (hashing.Sizes, error) {
	out := hashing.Sizes{Size: size(in.GetTableSize(), defaultMaglev)}
	if out.Size > hashing.MaxMaglev || !prime(out.Size) {
		return out, values.Wrong("maglev_lb_config.table_size", "%d is not a prime of at most %d", out.Size, hashing.MaxMaglev)
	}
	return out, nil
}

func size(n *wrapperspb.UInt64Value, absent uint64) uint64 {
	if n == nil {
		return absent
	}
	return n.GetValue()
}

func prime(n uint64) bool {
	for d := uint64(2); d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

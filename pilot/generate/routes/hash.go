package routes

import (
	"slices"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// hashPolicies say what requests to any of some destinations are hashed by, each thing once.
func hashPolicies(keys []*model.HashKey) []*route.RouteAction_HashPolicy {
	var out []*route.RouteAction_HashPolicy
	for _, k := range keys {
		if k == nil {
			continue
		}
		p := hashPolicy(k)
		if !slices.ContainsFunc(out, func(o *route.RouteAction_HashPolicy) bool { return proto.Equal(o, p) }) {
			out = append(out, p)
		}
	}
	return out
}

func hashPolicy(k *model.HashKey) *route.RouteAction_HashPolicy {
	switch {
	case k.SourceIP:
		return &route.RouteAction_HashPolicy{PolicySpecifier: &route.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &route.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true}}}
	case k.Query != "":
		return &route.RouteAction_HashPolicy{PolicySpecifier: &route.RouteAction_HashPolicy_QueryParameter_{
			QueryParameter: &route.RouteAction_HashPolicy_QueryParameter{Name: k.Query}}}
	case k.Cookie != nil:
		c := &route.RouteAction_HashPolicy_Cookie{Name: k.Cookie.Name, Path: k.Cookie.Path, Ttl: message.Optional(k.Cookie.TTL)}
		for _, a := range k.Cookie.Attributes {
			c.Attributes = append(c.Attributes, &route.RouteAction_HashPolicy_CookieAttribute{Name: a.Name, Value: a.Value})
		}
		return &route.RouteAction_HashPolicy{PolicySpecifier: &route.RouteAction_HashPolicy_Cookie_{Cookie: c}}
	}
	return &route.RouteAction_HashPolicy{PolicySpecifier: &route.RouteAction_HashPolicy_Header_{Header: &route.RouteAction_HashPolicy_Header{HeaderName: k.Header}}}
}

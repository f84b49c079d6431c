package upstream

import (
	"math"
	"slices"

	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Vantage is where a client stands, as far as any policy of its mesh looks at that. It is comparable.
type Vantage struct {
	Locality model.Locality
	Node     string
	Labels   *intern.List[Label]
}

// Label is one label of a client.
type Label struct{ Key, Value string }

func (v Vantage) label(key string) string {
	switch key {
	case model.LabelRegion:
		return v.Locality.Region
	case model.LabelZone:
		return v.Locality.Zone
	case model.LabelSubzone:
		return v.Locality.Subzone
	case model.LabelHostname:
		return v.Node
	}
	for l := range v.Labels.All {
		if l.Key == key {
			return l.Value
		}
	}
	return ""
}

// Near is how one client prefers endpoints by where they are. It holds no more of the client than decides, so that clients share what looks the same
// to them. The zero value prefers none. It is comparable.
type Near struct {
	policy  *model.LocalityPolicy // orders endpoints; nil: does not
	share   *model.Distribution   // shares traffic out; nil: does not
	from    Vantage
	cluster string
}

// locality is the policy in force: the rule's, else the service's, else the mesh's; nil: none.
func (in Cluster) locality() *model.LocalityPolicy {
	policy := in.InForce()
	chosen := policy.LoadBalancer.Locality
	switch {
	case chosen == nil && in.Service.Locality != nil:
		chosen = in.Service.Locality
	case chosen == nil:
		chosen = in.Mesh.Locality
	}
	if chosen == nil || chosen.Off || in.originalDestination() || !Effective(chosen, policy) {
		return nil
	}
	return chosen
}

// Effective reports whether a preference has any effect beside a policy.
func Effective(l *model.LocalityPolicy, policy *model.TrafficPolicy) bool {
	return len(l.Distribute) > 0 || l.Always || policy.Outlier != nil
}

// Preference is how every client prefers the endpoints of a cluster by where they are. The zero value prefers none. It is comparable.
type Preference struct {
	policy *model.LocalityPolicy
	// cluster is the name of the cluster that everybody is in.
	cluster string
}

// Preference is how clients prefer the cluster's endpoints.
func (in Cluster) Preference() Preference {
	if policy := in.locality(); policy != nil {
		return Preference{policy, in.Mesh.ClusterID}
	}
	return Preference{}
}

// From is what the preference means to one client.
func (p Preference) From(v Vantage) Near {
	policy := p.policy
	if policy == nil {
		return Near{}
	}
	for _, d := range policy.Distribute {
		if d.From.Matches(v.Locality) {
			return Near{share: d}
		}
	}
	switch {
	case len(policy.Distribute) > 0:
		return Near{}
	case len(policy.Labels) == 0:
		return Near{policy: policy, from: Vantage{Locality: v.Locality}}
	case !slices.ContainsFunc(policy.Labels, func(l model.LabelPreference) bool { return l.Key == model.LabelHostname }):
		v.Node = ""
	}
	return Near{policy: policy, from: v, cluster: p.cluster}
}

// rank is how near an endpoint is: 0 is the nearest.
func (n Near) rank(e *model.Endpoint) uint32 {
	switch {
	case n.policy == nil:
		return 0
	case len(n.policy.Labels) > 0:
		return n.byLabels(e)
	}
	here, there := n.from.Locality, e.Locality
	switch {
	case here == there:
		return 0
	case here.Region == there.Region && here.Zone == there.Zone:
		return 1
	case here.Region == there.Region:
		return 2
	}
	for _, f := range n.policy.Failover {
		if f.From == here.Region && f.To != there.Region {
			return 4
		}
	}
	return 3
}

// byLabels counts the labels that are not as wanted, from the first such on.
func (n Near) byLabels(e *model.Endpoint) uint32 {
	for i, l := range n.policy.Labels {
		wanted := l.Value
		if !l.Given {
			wanted = n.from.label(l.Key)
		}
		got := e.Labels[l.Key]
		switch l.Key {
		case model.LabelRegion:
			got = e.Locality.Region
		case model.LabelZone:
			got = e.Locality.Zone
		case model.LabelSubzone:
			got = e.Locality.Subzone
		case model.LabelHostname:
			got = e.Node
		case model.LabelCluster:
			if got = n.cluster; !l.Given {
				wanted = got
			}
		}
		if got != wanted {
			return uint32(len(n.policy.Labels) - i)
		}
	}
	return 0
}

// shareOut gives groups the weights of a distribution; groups that it leaves out go. Weights are hundredths of a percent.
func (n Near) shareOut(groups []*endpoint.LocalityLbEndpoints) []*endpoint.LocalityLbEndpoints {
	if n.share == nil {
		return groups
	}
	at := func(g *endpoint.LocalityLbEndpoints) model.Locality {
		return model.Locality{Region: g.Locality.Region, Zone: g.Locality.Zone, Subzone: g.Locality.SubZone}
	}
	var out []*endpoint.LocalityLbEndpoints
	for _, share := range n.share.To {
		total := 0.0
		for _, g := range groups {
			if share.At.Matches(at(g)) {
				total += float64(g.LoadBalancingWeight.GetValue())
			}
		}
		for _, g := range groups {
			if share.At.Matches(at(g)) {
				g.LoadBalancingWeight = message.U32(uint32(math.Ceil(float64(share.Percent) * 100 * float64(g.LoadBalancingWeight.GetValue()) / total)))
				out = append(out, g)
			}
		}
	}
	return out
}

// inOrder numbers priorities from 0 without gaps.
func inOrder(groups []*endpoint.LocalityLbEndpoints) {
	var ranks []uint32
	for _, g := range groups {
		ranks = append(ranks, g.Priority)
	}
	slices.Sort(ranks)
	ranks = slices.Compact(ranks)
	for _, g := range groups {
		at, _ := slices.BinarySearch(ranks, g.Priority)
		g.Priority = uint32(at)
	}
}

package upstream

import (
	"slices"

	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// nobody is no workload's identity: a list of names with it accepts nobody, where an empty one would accept every member of the mesh.
const nobody = "spiffe://"

// accepted are the names that a server of the mesh may have: a rule's own, or else those of members.
func (in Cluster) accepted(rule *model.ClientTLS) []*matcher.StringMatcher {
	switch {
	case rule != nil && len(rule.SANs) > 0:
		return message.ExactNames(rule.SANs)
	case in.Class.Foreign || len(in.Service.SANs)+len(in.Mesh.TrustDomainAliases) > 0:
		return in.members()
	}
	return nil // the identity of the endpoint dialled is the one accepted
}

// members are the names that a ServiceEntry gives its servers, and the identity of the endpoint dialled, each under all trust domains of the mesh. A foreign
// proxy, which cannot compare with the endpoint's fact, gets the identities of all endpoints; while there is no name at all, it accepts nobody.
func (in Cluster) members() []*matcher.StringMatcher {
	names := in.Service.SANs
	if !in.Class.Foreign {
		return append(message.ExactNames(in.underAll(names)), transport.Members(in.Mesh)...)
	}
	if in.Identities != nil {
		names = append(slices.Clip(names), in.Identities.Slice()...)
	}
	if len(names) == 0 {
		names = []string{nobody}
	}
	return message.ExactNames(in.underAll(names))
}

// underAll adds, to identities of a trust domain of the mesh, the same under its other ones.
func (in Cluster) underAll(names []string) []string {
	if len(in.Mesh.TrustDomainAliases) == 0 {
		return distinct(names)
	}
	ours := append([]string{in.Mesh.TrustDomain}, in.Mesh.TrustDomainAliases...)
	var out []string
	for _, name := range names {
		out = append(out, name)
		id, err := spiffe.Parse(name)
		if err != nil || !slices.Contains(ours, id.TrustDomain) {
			continue
		}
		for _, id.TrustDomain = range ours {
			out = append(out, id.String())
		}
	}
	return distinct(out)
}

// distinct leaves out what was said before.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		before := seen[name]
		seen[name] = true
		return before
	})
}

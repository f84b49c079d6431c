package generate

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// peerRules are the PeerAuthentications by namespace, oldest first.
type peerRules struct {
	all      []*model.PeerAuthentication
	by       map[string][]*model.PeerAuthentication
	root     string
	disables bool // whether any of them says DISABLE
}

func newPeerRules(s *model.Snapshot, prev *Index) *peerRules {
	if prev != nil && prev.peers.root == s.Mesh.RootNamespace && slices.Equal(prev.peers.all, s.PeerAuthentications) {
		return prev.peers
	}
	p := &peerRules{all: s.PeerAuthentications, by: map[string][]*model.PeerAuthentication{}, root: s.Mesh.RootNamespace}
	for _, a := range p.all {
		p.by[a.From.Namespace] = append(p.by[a.From.Namespace], a)
		p.disables = p.disables || a.Mode == model.MTLSDisable
		for _, mode := range a.Ports {
			p.disables = p.disables || mode == model.MTLSDisable
		}
	}
	return p
}

// chosen returns the policy for a workload itself, and its namespace's.
func (p *peerRules) chosen(namespace string, labels model.Labels) (workload, namespaced *model.PeerAuthentication) {
	for _, a := range p.by[namespace] {
		switch {
		case a.Selector == nil:
			if namespaced == nil {
				namespaced = a
			}
		case workload == nil && a.Selector.Matches(labels):
			workload = a
		}
	}
	return workload, namespaced
}

// mode is what a workload's port (0: any other) demands of its clients: the workload's policy, else its namespace's, else the
// root's, else PERMISSIVE.
func (p *peerRules) mode(namespace string, labels model.Labels, port uint16) model.MTLSMode {
	workload, namespaced := p.chosen(namespace, labels)
	if workload != nil {
		if mode := workload.Ports[port]; port != 0 && mode != model.MTLSUnset {
			return mode
		}
		if workload.Mode != model.MTLSUnset {
			return workload.Mode
		}
	}
	if namespaced != nil && namespaced.Mode != model.MTLSUnset {
		return namespaced.Mode
	}
	if namespace != p.root {
		if _, root := p.chosen(p.root, nil); root != nil && root.Mode != model.MTLSUnset {
			return root.Mode
		}
	}
	return model.MTLSPermissive
}

// ports are the workload ports that a policy names, sorted.
func (p *peerRules) ports(namespace string, labels model.Labels) []uint16 {
	workload, _ := p.chosen(namespace, labels)
	if workload == nil {
		return nil
	}
	var out []uint16
	for port := range workload.Ports {
		out = append(out, port)
	}
	slices.Sort(out)
	return out
}

func (ix *Index) mtls(namespace string, labels model.Labels, port uint16) model.MTLSMode {
	return ix.peers.mode(namespace, labels, port)
}

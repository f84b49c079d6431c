// Package peers finds out which clients a workload accepts: the precedence of PeerAuthentications. It makes no configuration.
package peers

import (
	"slices"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// Rules are the PeerAuthentications by namespace, oldest first.
type Rules struct {
	all      []*model.PeerAuthentication
	by       map[string][]*model.PeerAuthentication
	root     string
	disables bool // whether any of them says DISABLE
}

// Disables reports whether any policy switches mutual TLS off.
func (p *Rules) Disables() bool { return p.disables }

// New indexes a snapshot's policies. prev, the rules before or nil, are returned where nothing changed.
func New(s *model.Snapshot, prev *Rules) *Rules {
	if prev != nil && prev.root == s.Mesh.RootNamespace && slices.Equal(prev.all, s.PeerAuthentications) {
		return prev
	}
	p := &Rules{all: s.PeerAuthentications, by: map[string][]*model.PeerAuthentication{}, root: s.Mesh.RootNamespace}
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
func (p *Rules) chosen(namespace string, labels model.Labels) (workload, namespaced *model.PeerAuthentication) {
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

// Mode is what a workload's port (0: any other) demands of its clients: the workload's policy, else its namespace's, else the
// root's, else PERMISSIVE.
func (p *Rules) Mode(namespace string, labels model.Labels, port uint16) model.MTLSMode {
	mode, _ := p.Decides(namespace, labels, port)
	return mode
}

// Decides is Mode with the policy that it is of; nil: none says anything.
func (p *Rules) Decides(namespace string, labels model.Labels, port uint16) (model.MTLSMode, *model.PeerAuthentication) {
	workload, namespaced := p.chosen(namespace, labels)
	if workload != nil {
		if mode := workload.Ports[port]; port != 0 && mode != model.MTLSUnset {
			return mode, workload
		}
		if workload.Mode != model.MTLSUnset {
			return workload.Mode, workload
		}
	}
	if namespaced != nil && namespaced.Mode != model.MTLSUnset {
		return namespaced.Mode, namespaced
	}
	if namespace != p.root {
		if _, root := p.chosen(p.root, nil); root != nil && root.Mode != model.MTLSUnset {
			return root.Mode, root
		}
	}
	return model.MTLSPermissive, nil
}

// Ports are the workload ports that a policy names, sorted.
func (p *Rules) Ports(namespace string, labels model.Labels) []uint16 {
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

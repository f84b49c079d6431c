package main

import (
	"context"
	"errors"
	"fmt"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/registration"
)

// machines lets the proxies of machines outside of the cluster prove and register themselves, as the WorkloadGroups in force say.
type machines struct {
	attestor  *attest.Attestor
	registrar *registration.Registrar
	pilot     *pilot // set before anything is served
}

// newMachines has the certificate authority believe machines, too.
func newMachines(h *heddled) *machines {
	m := &machines{attestor: h.ca.attestor}
	m.attestor.Machines = m.of
	m.registrar = registration.New(registration.Config{Client: h.cluster.writer, Self: types.NamespacedName{Namespace: h.config.namespace, Name: h.config.podName},
		Groups: m.group, Entries: m.entries, Alive: h.cluster.lives, Most: m.most, Log: h.log.With("part", "machines")})
	return m
}

// groups are those in force, none before the cluster was read.
func (m *machines) groups() map[model.Name]*model.WorkloadGroup {
	if snapshot := m.pilot.snapshot.Load(); snapshot != nil {
		return snapshot.WorkloadGroups
	}
	return nil
}

// most is how many machines an account may have, 0 where the mesh does not say.
func (m *machines) most() int {
	if snapshot := m.pilot.snapshot.Load(); snapshot != nil {
		return snapshot.Mesh.MachinesPerAccount
	}
	return 0
}

// of reports whether a group of a namespace has machines of an account.
func (m *machines) of(namespace, account string) bool {
	for name, g := range m.groups() {
		if name.Namespace == namespace && g.Account == account {
			return true
		}
	}
	return false
}

func (m *machines) group(name types.NamespacedName) *registration.Group {
	g := m.groups()[model.Name{Namespace: name.Namespace, Name: name.Name}]
	if g == nil {
		return nil
	}
	return &registration.Group{NamespacedName: name, UID: types.UID(g.UID), Account: g.Account, Labels: g.Labels, Annotations: g.Annotations, Ports: g.Ports,
		Locality: g.Locality, Weight: g.Weight, Probed: g.Probed}
}

// entries are those that were registered, as the endpoints' lane read them last.
func (m *machines) entries() []registration.Entry {
	all := m.pilot.entries.Load()
	if all == nil {
		return nil
	}
	var out []registration.Entry
	for _, e := range *all {
		if e.Annotations[wire.RegistrationGroup] != "" {
			out = append(out, registration.Entry{NamespacedName: types.NamespacedName{Namespace: e.Namespace, Name: e.Name},
				Account: e.Spec.GetServiceAccount(), Controller: e.Annotations[wire.RegistrationController], Connected: e.Annotations[wire.RegistrationConnected]})
		}
	}
	return out
}

// Prove implements discovery.Machines.
func (m *machines) Prove(ctx context.Context) (discovery.Caller, error) {
	proof := attest.FromContext(ctx)
	proof.Machine = true
	return callerOf(m.attestor.Attest(ctx, proof))
}

// Register implements discovery.Machines.
func (m *machines) Register(ctx context.Context, caller discovery.Caller, node discovery.Node) (discovery.Registration, error) {
	claim := registration.Claim{Group: types.NamespacedName{Namespace: caller.Namespace, Name: node.Group}, Account: caller.Identity.ServiceAccount, Address: node.Address}
	r, err := m.registrar.Register(ctx, claim)
	var refusal *registration.Refusal
	if errors.As(err, &refusal) {
		return nil, fmt.Errorf("%w: %w", discovery.ErrNoMachine, err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// lives reports whether the pod of a replica is there and has not ended. Where that cannot be found out, it may be.
func (c *cluster) lives(ctx context.Context, replica types.NamespacedName) bool {
	pod, err := c.cachedPod(ctx, replica.Namespace, replica.Name)
	if err != nil {
		return !apierrors.IsNotFound(err)
	}
	return pod.Status.Phase != core.PodSucceeded && pod.Status.Phase != core.PodFailed
}

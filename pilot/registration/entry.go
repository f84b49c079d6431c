package registration

import (
	"context"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
)

// attempts is how often a write is tried at once while others write the same object.
const attempts = 5

func kind(name string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: name}
}

func blank(name types.NamespacedName) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind("WorkloadEntry"))
	u.SetNamespace(name.Namespace)
	u.SetName(name.Name)
	return u
}

// write makes the entry, or takes over the one that another replica, or this one before, made.
func (r *Registrar) write(ctx context.Context, h *held) error {
	var err error
	for range attempts {
		entry := blank(h.name)
		err = r.Client.Get(ctx, client.ObjectKeyFromObject(entry), entry)
		since := time.Now().UTC().Format(time.RFC3339Nano)
		switch {
		case apierrors.IsNotFound(err):
			entry = blank(h.name)
			r.fill(entry, h, since)
			err = r.Client.Create(ctx, entry)
		case err != nil:
			return fmt.Errorf("reading WorkloadEntry %s: %w", h.name, err)
		default:
			if err := foreign(entry, h); err != nil {
				return err
			}
			r.fill(entry, h, since)
			err = r.Client.Update(ctx, entry)
		}
		if err == nil {
			h.since, h.at, h.told = since, time.Now(), nil
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			break
		}
	}
	return fmt.Errorf("writing WorkloadEntry %s: %w", h.name, err)
}

// foreign refuses an entry that is not a replica's of this mesh, for this group.
func foreign(entry *unstructured.Unstructured, h *held) error {
	says := entry.GetAnnotations()
	controller, registered := says[wire.RegistrationController]
	_, ours := replicaOf(controller)
	switch {
	case !registered || says[wire.RegistrationGroup] == "":
		return refused("there is a WorkloadEntry %s already that somebody wrote: it is not overwritten", h.name)
	case !ours:
		return refused("there is a WorkloadEntry %s already that another control plane registered (%s): it is not overwritten", h.name, controller)
	case says[wire.RegistrationGroup] != h.group.Name:
		return refused("there is a WorkloadEntry %s already, of a machine of WorkloadGroup %s", h.name, says[wire.RegistrationGroup])
	}
	return nil
}

// fill says in an entry what its group says, and whose it is. Labels and annotations that others added stay.
func (r *Registrar) fill(entry *unstructured.Unstructured, h *held, since string) {
	g := h.group
	labels := with(entry.GetLabels(), g.Labels)
	before, _, _ := unstructured.NestedStringMap(entry.Object, "spec", "labels")
	for key := range before { // what the group said once
		if _, still := g.Labels[key]; !still {
			delete(labels, key)
		}
	}
	annotations := with(entry.GetAnnotations(), g.Annotations)
	annotations[wire.RegistrationGroup], annotations[wire.RegistrationController], annotations[wire.RegistrationConnected] = g.Name, r.self(), since
	if delete(annotations, wire.HealthChecked); g.Probed {
		annotations[wire.HealthChecked] = "true"
	}
	entry.SetLabels(labels)
	entry.SetAnnotations(annotations)
	controller := true
	entry.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: kind("").GroupVersion().String(), Kind: "WorkloadGroup", Name: g.Name, UID: g.UID, Controller: &controller}})
	spec := map[string]any{"address": h.address, "serviceAccount": g.Account}
	if len(g.Labels) > 0 {
		spec["labels"] = anyOf(g.Labels)
	}
	if len(g.Ports) > 0 {
		ports := map[string]any{}
		for name, number := range g.Ports {
			ports[name] = int64(number)
		}
		spec["ports"] = ports
	}
	if g.Locality != "" {
		spec["locality"] = g.Locality
	}
	if g.Weight != 0 {
		spec["weight"] = int64(g.Weight)
	}
	entry.Object["spec"] = spec
}

func with(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

func anyOf(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// remove deletes an entry, unless it is no longer as a replica left it: another may have it by now, or somebody may have made it his.
func (r *Registrar) remove(ctx context.Context, e Entry) error {
	entry, err := r.owned(ctx, e)
	if entry == nil {
		return err
	}
	uid, version := entry.GetUID(), entry.GetResourceVersion()
	err = r.Client.Delete(ctx, entry, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// owned reads an entry that is as a replica left it; nil where it is not.
func (r *Registrar) owned(ctx context.Context, e Entry) (*unstructured.Unstructured, error) {
	entry := blank(e.NamespacedName)
	if err := r.Client.Get(ctx, e.NamespacedName, entry); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	says := entry.GetAnnotations()
	if says[wire.RegistrationController] != e.Controller || says[wire.RegistrationConnected] != e.Connected || says[wire.RegistrationGroup] == "" {
		return nil, nil
	}
	return entry, nil
}

// tell writes whether the machine's application is healthy into the entry's status, among others' conditions.
func (r *Registrar) tell(ctx context.Context, h *held, reason string) error {
	entry, err := r.owned(ctx, h.entry(r))
	if entry == nil {
		return err
	}
	list, _, err := unstructured.NestedSlice(entry.Object, "status", "conditions")
	if err != nil {
		return fmt.Errorf("reading conditions: %w", err)
	}
	now := time.Now().UTC().Format(time.RFC3339)
	next := map[string]any{"type": wire.HealthCondition, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
	if reason != "" {
		next["status"], next["message"] = "False", reason[:min(len(reason), maxMessage)]
	}
	merged := []any{}
	for _, c := range list {
		if m, _ := c.(map[string]any); m["type"] != wire.HealthCondition {
			merged = append(merged, c)
		} else if m["status"] == next["status"] && m["lastTransitionTime"] != nil {
			next["lastTransitionTime"] = m["lastTransitionTime"]
		}
	}
	if err := unstructured.SetNestedSlice(entry.Object, append(merged, next), "status", "conditions"); err != nil {
		return fmt.Errorf("writing conditions: %w", err)
	}
	return r.Client.Status().Update(ctx, entry)
}

// maxMessage bounds what a machine can write into the cluster, in bytes.
const maxMessage = 1024

// entry is the entry as it was written.
func (h *held) entry(r *Registrar) Entry {
	return Entry{NamespacedName: h.name, Account: h.account, Controller: r.self(), Connected: h.since}
}

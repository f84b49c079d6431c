package core

import (
	"cmp"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Locality is where a node is, by its labels.
func Locality(n *corev1.Node) model.Locality {
	return model.Locality{Region: n.Labels[model.LabelRegion], Zone: n.Labels[model.LabelZone], Subzone: n.Labels[model.LabelSubzone]}
}

// Workload translates a pod, which is on a node there unless it says otherwise.
func Workload(p *corev1.Pod, where model.Locality, mesh *model.Mesh) *model.Workload {
	where = cmp.Or(Said(p.Labels), where)
	w := &model.Workload{
		Name:        model.Name{Namespace: p.Namespace, Name: p.Name},
		UID:         string(p.UID),
		IPs:         podIPs(p),
		Labels:      Placed(p.Labels, where, p.Spec.NodeName, mesh.ClusterID),
		Own:         model.Labels{},
		Annotations: p.Annotations,
		Identity:    Identity(mesh, p.Namespace, p.Spec.ServiceAccountName),
		Node:        p.Spec.NodeName,
		Locality:    where,
		Facts:       facts(p, mesh),
	}
	if p.Labels != nil {
		w.Own = p.Labels
	}
	for _, c := range append(append([]corev1.Container(nil), p.Spec.InitContainers...), p.Spec.Containers...) {
		for _, port := range c.Ports {
			if port.Name == "" {
				continue
			}
			if w.ContainerPorts == nil {
				w.ContainerPorts = map[string]uint16{}
			}
			w.ContainerPorts[port.Name] = uint16(port.ContainerPort)
		}
	}
	return w
}

// Identity names a service account; nobody if that is no identity.
func Identity(mesh *model.Mesh, namespace, account string) spiffe.Identity {
	if account == "" {
		account = "default"
	}
	id, err := spiffe.New(mesh.TrustDomain, namespace, account)
	if err != nil {
		return spiffe.Identity{}
	}
	return id
}

// OnHostNetwork reports whether the pod's address is its node's.
func OnHostNetwork(p *corev1.Pod) bool { return p.Spec.HostNetwork }

// Ended reports whether the pod's address may already be another's.
func Ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func podIPs(p *corev1.Pod) []string {
	var out []string
	for _, ip := range p.Status.PodIPs {
		out = append(out, ip.IP)
	}
	if len(out) == 0 && p.Status.PodIP != "" {
		out = []string{p.Status.PodIP}
	}
	return out
}

// facts name a pod in telemetry.
func facts(p *corev1.Pod, mesh *model.Mesh) model.Facts {
	out := Facts(p.Labels, workloadName(p), p.Namespace, mesh)
	out.Pod = p.Name
	return out
}

// Facts name a workload in telemetry by its labels and, where they do not, by the name of what owns it.
func Facts(labels map[string]string, owner, namespace string, mesh *model.Mesh) model.Facts {
	return model.Facts{
		Workload:          owner,
		Namespace:         namespace,
		CanonicalName:     first(labels, owner, wire.CanonicalNameLabel, "app.kubernetes.io/name", "app"),
		CanonicalRevision: first(labels, "latest", wire.CanonicalRevLabel, "app.kubernetes.io/version", "version"),
		App:               labels["app"],
		Version:           labels["version"],
		Cluster:           mesh.ClusterID,
	}
}

func first(labels map[string]string, byDefault string, keys ...string) string {
	for _, k := range keys {
		if v := labels[k]; v != "" {
			return v
		}
	}
	return byDefault
}

// cronTime is what a CronJob appends to the names of its Jobs.
var cronTime = regexp.MustCompile(`-\d{8,10}$`)

// workloadName is the name of what owns the pod: a Deployment rather than its ReplicaSet, a CronJob rather than its Job.
func workloadName(p *corev1.Pod) string {
	for _, o := range p.OwnerReferences {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		switch o.Kind {
		case "ReplicaSet":
			if hash := p.Labels["pod-template-hash"]; hash != "" {
				return strings.TrimSuffix(o.Name, "-"+hash)
			}
		case "Job":
			return cronTime.ReplaceAllString(o.Name, "")
		}
		return o.Name
	}
	return p.Name
}

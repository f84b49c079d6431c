// Package inject puts the proxy into pods: Pod in, Pod out. It is PURE: it asks nobody, writes into nothing that it was given, and
// gives the same answer to the webhook and to the command line. It never injects twice, and never touches a pod that belongs to
// another mesh.
package inject

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Request is a pod and what is known of where it comes from.
type Request struct {
	Pod             *corev1.Pod
	Namespace       string // the pod's own may be empty at admission
	NamespaceLabels map[string]string
	// Workload is the name of what owns the pod; empty: found out by the pod's owner references.
	Workload string
}

// Result is what becomes of a pod.
type Result struct {
	Pod      *corev1.Pod // a new one if Injected, otherwise the one of the request
	Injected bool
	Reason   string   // why, or why not
	Warnings []string // what its author should know; not errors
}

// Inject decides about r and injects where it should. The error is a mistake of the pod's author, and names the field.
func Inject(r Request, p Params) (Result, error) {
	inject, reason, err := decide(r, p)
	if err != nil || !inject {
		return Result{Pod: r.Pod, Reason: reason}, err
	}
	settings, err := readSettings(r, p)
	if err != nil {
		return Result{Pod: r.Pod}, err
	}
	pod := r.Pod.DeepCopy()
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	probes, err := takeProbes(pod, settings, p.HookToken)
	if err != nil {
		return Result{Pod: r.Pod}, err
	}
	var metrics string
	if settings.merge {
		metrics = mergePrometheus(pod)
	}
	addLabels(pod, settings.workload)
	proxy := proxyContainer(pod, settings, p, probes, metrics)
	place(pod, redirectContainer(settings), proxy, settings.native)
	addVolumes(pod, p)
	if err := addStatus(pod, settings, p); err != nil {
		return Result{Pod: r.Pod}, err
	}
	return Result{Pod: pod, Injected: true, Reason: reason, Warnings: append(warnings(r.Pod), unreadable(r.NamespaceLabels)...)}, nil
}

// place puts the containers where they belong. A native sidecar starts after the redirection and before the user's init
// containers, so that theirs is mesh traffic too. An ordinary proxy only starts when all init containers have ended: the
// redirection comes last of them, or those of the user could reach nothing.
func place(pod *corev1.Pod, redirect, proxy corev1.Container, native bool) {
	if native {
		pod.Spec.InitContainers = append([]corev1.Container{redirect, proxy}, pod.Spec.InitContainers...)
		return
	}
	pod.Spec.InitContainers = append(pod.Spec.InitContainers, redirect)
	pod.Spec.Containers = append([]corev1.Container{proxy}, pod.Spec.Containers...)
}

// status is the value of wire.StatusAnnotation.
type status struct {
	Version        string   `json:"version"`
	Revision       string   `json:"revision,omitempty"` // of the control plane; none: the default one
	Native         bool     `json:"native"`
	InitContainers []string `json:"initContainers"`
	Containers     []string `json:"containers"`
	Volumes        []string `json:"volumes"`
}

// RevisionOf returns the revision of the control plane that injected a pod ("": the default one), and whether one did.
func RevisionOf(pod *corev1.Pod) (revision string, injected bool) {
	text, injected := pod.Annotations[wire.StatusAnnotation]
	var s status
	if json.Unmarshal([]byte(text), &s) != nil {
		return "", injected // no revision but the default one wrote anything else
	}
	return s.Revision, injected
}

func addStatus(pod *corev1.Pod, s settings, p Params) error {
	out := status{Version: p.Version, Revision: p.Revision, Native: s.native, InitContainers: []string{wire.RedirectContainer},
		Containers: []string{}, Volumes: []string{volumeToken, volumeRoot, volumePodInfo}}
	if s.native {
		out.InitContainers = append(out.InitContainers, wire.ProxyContainer)
	} else {
		out.Containers = append(out.Containers, wire.ProxyContainer)
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("writing annotation %s: %w", wire.StatusAnnotation, err)
	}
	pod.Annotations[wire.StatusAnnotation] = string(text)
	if _, ok := pod.Annotations[annotationDefaultContainer]; !ok {
		if name := firstApplication(pod); name != "" {
			pod.Annotations[annotationDefaultContainer] = name
		}
	}
	return nil
}

// firstApplication is the container that kubectl should mean when nobody names one.
func firstApplication(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if c.Name != wire.ProxyContainer {
			return c.Name
		}
	}
	return ""
}

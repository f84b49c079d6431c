package inject

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Labels that name an application and its version.
const (
	labelName    = "app.kubernetes.io/name"
	labelVersion = "app.kubernetes.io/version"
)

// addLabels adds what services and telemetry know a workload by. What the user has set stays.
func addLabels(pod *corev1.Pod, workload string) {
	defaultLabel(pod, wire.TLSModeLabel, wire.TLSModeMesh)
	defaultLabel(pod, wire.CanonicalNameLabel, firstOf(pod.Labels[labelName], pod.Labels["app"], labelValue(workload)))
	defaultLabel(pod, wire.CanonicalRevLabel, firstOf(pod.Labels[labelVersion], pod.Labels["version"], "latest"))
}

func defaultLabel(pod *corev1.Pod, key, value string) {
	if _, ok := pod.Labels[key]; !ok {
		pod.Labels[key] = value
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// maxLabel is the most that a label's value may hold.
const maxLabel = 63

// labelValue cuts a name, which may be longer, to a valid value.
func labelValue(name string) string {
	if len(name) > maxLabel {
		name = name[:maxLabel]
	}
	return strings.TrimRight(name, "-_.")
}

// workloadName returns the name of what people deployed: the Deployment behind a ReplicaSet, the CronJob behind a Job.
func workloadName(pod *corev1.Pod) string {
	for _, owner := range pod.OwnerReferences {
		if owner.Controller == nil || !*owner.Controller {
			continue
		}
		switch owner.Kind {
		case "ReplicaSet":
			return strings.TrimSuffix(owner.Name, "-"+pod.Labels["pod-template-hash"])
		case "Job":
			return cronJob(owner.Name)
		default:
			return owner.Name
		}
	}
	if pod.Name != "" {
		return pod.Name
	}
	return strings.TrimRight(pod.GenerateName, "-")
}

// cronJob takes the minute that the CronJob controller appends off a Job's name.
func cronJob(name string) string {
	return regexp.MustCompile(`^(.+)-\d{8,10}$`).ReplaceAllString(name, "$1")
}

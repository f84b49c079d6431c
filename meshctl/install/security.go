package install

import (
	core "k8s.io/api/core/v1"
	psa "k8s.io/pod-security-admission/api"
)

// ForbidsInjection reports whether the pod security level that a namespace enforces refuses the container that sets up capture,
// which needs NET_ADMIN.
func ForbidsInjection(ns *core.Namespace) bool {
	level := psa.Level(ns.Labels[psa.EnforceLevelLabel])
	return level == psa.LevelBaseline || level == psa.LevelRestricted
}

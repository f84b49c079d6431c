package inject

import (
	"strconv"
	"strings"
)

// minNativeMinor is the minor version of Kubernetes 1 in which restartable init containers cannot be switched off any more.
const minNativeMinor = 33

// NativeSupported reports whether every kubelet, by its version (v1.37.2), runs native sidecars. Without any node to ask it says
// no: an ordinary container runs everywhere.
func NativeSupported(kubeletVersions []string) bool {
	for _, v := range kubeletVersions {
		if !supports(v) {
			return false
		}
	}
	return len(kubeletVersions) > 0
}

func supports(version string) bool {
	major, rest, ok := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(strings.TrimRight(minor, "+"))
	if !ok || errA != nil || errB != nil {
		return false
	}
	return a > 1 || a == 1 && b >= minNativeMinor
}

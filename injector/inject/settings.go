package inject

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/redirect"
)

// Annotations of pods that are honoured.
const (
	prefixTraffic              = "traffic.sidecar.istio.io/"
	annotationInterception     = "sidecar.istio.io/interceptionMode"
	annotationRewriteProbes    = "sidecar.istio.io/rewriteAppHTTPProbers"
	annotationIstioNative      = "sidecar.istio.io/nativeSidecar"
	annotationCPU              = "sidecar.istio.io/proxyCPU"
	annotationCPULimit         = "sidecar.istio.io/proxyCPULimit"
	annotationMemory           = "sidecar.istio.io/proxyMemory"
	annotationMemoryLimit      = "sidecar.istio.io/proxyMemoryLimit"
	annotationImage            = "sidecar.istio.io/proxyImage"
	annotationLogLevel         = "sidecar.istio.io/logLevel"
	annotationDefaultContainer = "kubectl.kubernetes.io/default-container"
)

// settings is what one pod asks for, with the mesh's defaults filled in.
type settings struct {
	image         string
	pullPolicy    corev1.PullPolicy
	logLevel      string
	native        bool
	rewriteProbes bool
	merge         bool // the application's metrics into the proxy's
	workload      string
	capture       redirect.Spec
	dns, allocate bool // the proxy answers DNS questions; with addresses that the mesh gave to ServiceEntries
	onDemand      bool // the proxy asks for what it uses
	config        ProxyConfig
	resources     corev1.ResourceRequirements
}

func readSettings(r Request, p Params) (settings, error) {
	s := settings{image: p.Image, pullPolicy: p.PullPolicy, workload: r.Workload}
	if s.workload == "" {
		s.workload = workloadName(r.Pod)
	}
	annotations := r.Pod.Annotations
	if v := annotations[annotationImage]; v != "" {
		s.image = v
	}
	var err error
	if s.logLevel, err = readLevel(annotations[annotationLogLevel], p.LogLevel); err != nil {
		return s, err
	}
	if v := annotations[annotationInterception]; v != "" && v != "REDIRECT" {
		return s, fmt.Errorf("annotation %s: %q is not implemented, only REDIRECT is", annotationInterception, v)
	}
	if s.native, err = boolean(annotations, p.Native, wire.AnnotationNativeSidecar, annotationIstioNative); err != nil {
		return s, err
	}
	if s.rewriteProbes, err = boolean(annotations, true, annotationRewriteProbes); err != nil {
		return s, err
	}
	if s.merge, err = boolean(annotations, p.MergePrometheus, annotationMerge); err != nil {
		return s, err
	}
	if s.capture, err = readCapture(annotations, p.Capture); err != nil {
		return s, err
	}
	if err = s.readConfig(r, p); err != nil {
		return s, err
	}
	s.resources, err = readResources(annotations, p.Resources)
	return s, err
}

// readLevel reads Envoy's levels, of which the proxy has four, as in "info,http:debug". Levels of components, which it has none of, are left to warnings.
func readLevel(text, standard string) (string, error) {
	level := standard
	for part := range strings.SplitSeq(text, ",") {
		component, of, named := strings.Cut(part, ":")
		switch {
		case named && component != "" && levels()[of] != "" || text == "":
		case levels()[part] != "":
			level = levels()[part]
		default:
			return "", fmt.Errorf("annotation %s: %q is none of trace, debug, info, warning, error, critical, off", annotationLogLevel, part)
		}
	}
	return level, nil
}

// levels are the proxy's, by Envoy's names.
func levels() map[string]string {
	return map[string]string{"trace": "debug", "debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error", "err": "error", "critical": "error", "off": "error"}
}

// boolean returns what the first of keys that is there says.
func boolean(annotations map[string]string, standard bool, keys ...string) (bool, error) {
	for _, key := range keys {
		if text, ok := annotations[key]; ok {
			value, err := parseBool(text)
			if err != nil {
				return false, fmt.Errorf("annotation %s: %w", key, err)
			}
			return value, nil
		}
	}
	return standard, nil
}

// captureField returns the field of s that an annotation sets, or nil.
func captureField(s *redirect.Spec, name string) *string {
	switch name {
	case "includeInboundPorts":
		return &s.InboundPorts
	case "excludeInboundPorts":
		return &s.ExcludeInboundPorts
	case "includeOutboundPorts":
		return &s.OutboundPorts
	case "excludeOutboundPorts":
		return &s.ExcludeOutboundPorts
	case "includeOutboundIPRanges":
		return &s.OutboundCIDRs
	case "excludeOutboundIPRanges":
		return &s.ExcludeOutboundCIDRs
	case "excludeInterfaces":
		return &s.ExcludeInterfaces
	}
	return nil
}

// readCapture refuses annotations of this family that it does not know: what was to be captured, or not to be, would be the
// opposite.
func readCapture(annotations map[string]string, standard redirect.Spec) (redirect.Spec, error) {
	out := standard
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, prefixTraffic)
		if !ok {
			continue
		}
		value := captureField(&out, name)
		if value == nil {
			return out, fmt.Errorf("annotation %s is not implemented", key)
		}
		*value = annotations[key]
		alone := redirect.DefaultSpec()
		*captureField(&alone, name) = annotations[key]
		if _, err := alone.Config(); err != nil {
			return out, fmt.Errorf("annotation %s: %w", key, err)
		}
	}
	return out, nil
}

// readResources lets a request that exceeds the default limit raise it; a limit that is asked for is kept.
func readResources(annotations map[string]string, standard corev1.ResourceRequirements) (corev1.ResourceRequirements, error) {
	out := *standard.DeepCopy()
	for _, r := range []struct {
		name           corev1.ResourceName
		request, limit string
	}{
		{corev1.ResourceCPU, annotationCPU, annotationCPULimit},
		{corev1.ResourceMemory, annotationMemory, annotationMemoryLimit},
	} {
		if err := quantity(annotations, r.request, r.name, &out.Requests); err != nil {
			return out, err
		}
		if err := quantity(annotations, r.limit, r.name, &out.Limits); err != nil {
			return out, err
		}
		request, limit := out.Requests[r.name], out.Limits[r.name]
		if limit.IsZero() || request.Cmp(limit) <= 0 {
			continue
		}
		_, asked := annotations[r.limit]
		_, named := annotations[r.request]
		switch {
		case asked && named:
			return out, fmt.Errorf("annotation %s: %s is above the limit of %s", r.request, request.String(), limit.String())
		case asked:
			out.Requests[r.name] = limit
		default:
			out.Limits[r.name] = request
		}
	}
	return out, nil
}

func quantity(annotations map[string]string, key string, name corev1.ResourceName, list *corev1.ResourceList) error {
	text, ok := annotations[key]
	if !ok {
		return nil
	}
	value, err := resource.ParseQuantity(text)
	if err != nil || value.Sign() < 0 {
		return fmt.Errorf("annotation %s: %q is no quantity", key, text)
	}
	if value.IsZero() { // nothing is asked for, or there is no limit
		delete(*list, name)
		return nil
	}
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = value
	return nil
}

// ineffective are annotations that another mesh's users know and that do nothing here.
func ineffective() []string {
	return []string{
		"proxy.istio.io/overrides", "inject.istio.io/templates", "sidecar.istio.io/bootstrapOverride",
		"sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount", "sidecar.istio.io/discoveryAddress",
		"sidecar.istio.io/statsInclusionPrefixes", "sidecar.istio.io/statsInclusionRegexps", "sidecar.istio.io/statsInclusionSuffixes",
		"sidecar.istio.io/statsHistogramBuckets", "sidecar.istio.io/extraStatTags", "sidecar.istio.io/componentLogLevel",
		"sidecar.istio.io/agentLogLevel", "istio.io/reroute-virtual-interfaces",
	}
}

// warnings names what will not be as the pod's author may think.
func warnings(pod *corev1.Pod) []string {
	var out []string
	for _, key := range ineffective() {
		if _, ok := pod.Annotations[key]; ok {
			out = append(out, fmt.Sprintf("annotation %s has no effect in this mesh", key))
		}
	}
	if strings.Contains(pod.Annotations[annotationLogLevel], ":") {
		out = append(out, fmt.Sprintf("annotation %s: levels of components have no effect in this mesh", annotationLogLevel))
	}
	out = append(out, unusedConfig(pod.Annotations[annotationConfig])...)
	if asProxy(pod.Spec.SecurityContext) {
		out = append(out, bypass("the pod"))
	}
	for _, c := range pod.Spec.Containers {
		if c.SecurityContext != nil && (is1337(c.SecurityContext.RunAsUser) || is1337(c.SecurityContext.RunAsGroup)) {
			out = append(out, bypass("container "+c.Name))
		}
		for _, port := range c.Ports {
			if reserved(port.ContainerPort) {
				out = append(out, fmt.Sprintf("container %s: port %d is the proxy's", c.Name, port.ContainerPort))
			}
		}
	}
	return out
}

func bypass(who string) string {
	return who + " runs as user or group " + strconv.Itoa(wire.ProxyUID) + ", the proxy's own: its traffic is not captured"
}

func asProxy(c *corev1.PodSecurityContext) bool {
	return c != nil && (is1337(c.RunAsUser) || is1337(c.RunAsGroup))
}

func is1337(id *int64) bool { return id != nil && *id == wire.ProxyUID }

func reserved(port int32) bool {
	switch port {
	case wire.PortAdmin, wire.PortOutbound, wire.PortInbound, wire.PortStatus, wire.PortReady, wire.PortProxyPrometheus, wire.PortDNS:
		return true
	}
	return false
}

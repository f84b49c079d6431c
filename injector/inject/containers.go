package inject

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Volumes of the proxy.
const (
	volumeToken   = "heddle-token"
	volumeRoot    = "heddle-root"
	volumePodInfo = "heddle-podinfo"
)

// Directories and file names of wire.TokenPath, wire.RootPath and wire.PodInfoPath.
const (
	tokenDir  = "/var/run/secrets/tokens"
	tokenFile = "heddle-token"
	rootDir   = "/var/run/secrets/heddle"
)

// Probes of the proxy itself, in seconds.
const (
	startupPeriod, startupFailures     = 1, wire.StartupSeconds
	readinessPeriod, readinessFailures = 15, 4
	probeTimeout                       = 3
)

const defaultGrace = 30 // seconds: Kubernetes' own default of terminationGracePeriodSeconds

func redirectContainer(s settings) corev1.Container {
	return corev1.Container{
		Name:            wire.RedirectContainer,
		Image:           s.image,
		ImagePullPolicy: s.pullPolicy,
		Command:         append([]string{wire.ProxyBinary, wire.CommandRedirect}, s.capture.Args()...),
		Resources:       corev1.ResourceRequirements{Requests: quantities("10m", "32Mi"), Limits: quantities("1", "128Mi")},
		SecurityContext: redirectSecurity(),
	}
}

// redirectSecurity is root with one capability: an unprivileged user is not given it.
func redirectSecurity() *corev1.SecurityContext {
	c := restricted()
	c.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	c.RunAsNonRoot, c.RunAsUser, c.RunAsGroup = new(false), new(int64(0)), new(int64(0))
	return c
}

// restricted is what pod security calls so, as the proxy's user.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Privileged:               new(false),
		ReadOnlyRootFilesystem:   new(true),
		RunAsNonRoot:             new(true),
		RunAsUser:                new(int64(wire.ProxyUID)),
		RunAsGroup:               new(int64(wire.ProxyGID)),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func proxyContainer(pod *corev1.Pod, s settings, p Params, probes appProbes, metrics string) corev1.Container {
	c := corev1.Container{
		Name:            wire.ProxyContainer,
		Image:           s.image,
		ImagePullPolicy: s.pullPolicy,
		Command:         []string{wire.ProxyBinary, wire.CommandSidecar},
		Ports:           []corev1.ContainerPort{{Name: "http-proxy-prom", ContainerPort: wire.PortProxyPrometheus, Protocol: corev1.ProtocolTCP}},
		Env:             environment(pod, s, p, probes, metrics),
		Resources:       s.resources,
		SecurityContext: restricted(),
		StartupProbe:    ready(startupPeriod, startupFailures),
		ReadinessProbe:  ready(readinessPeriod, readinessFailures),
		Lifecycle:       &corev1.Lifecycle{PreStop: run(wire.CommandDrain)},
		VolumeMounts: []corev1.VolumeMount{
			{Name: volumeToken, MountPath: tokenDir, ReadOnly: true},
			{Name: volumeRoot, MountPath: rootDir, ReadOnly: true},
			{Name: volumePodInfo, MountPath: wire.PodInfoPath, ReadOnly: true},
		},
	}
	if s.native {
		c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	} else if *s.config.Hold {
		c.Lifecycle.PostStart = run(wire.CommandWait) // the kubelet starts the next container only when it returns
	}
	return c
}

func run(command string) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{wire.ProxyBinary, command}}}
}

func ready(period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: wire.PathReady, Port: intstr.FromInt32(wire.PortReady), Scheme: corev1.URISchemeHTTP}},
		PeriodSeconds:    period,
		FailureThreshold: failures,
		TimeoutSeconds:   probeTimeout,
	}
}

func environment(pod *corev1.Pod, s settings, p Params, probes appProbes, metrics string) []corev1.EnvVar {
	grace := int64(defaultGrace)
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	ends := pod.Spec.RestartPolicy == corev1.RestartPolicyNever || pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
	env := []corev1.EnvVar{
		fromField(wire.EnvPodName, "metadata.name"),
		fromField(wire.EnvPodNamespace, "metadata.namespace"),
		fromField(wire.EnvPodUID, "metadata.uid"),
		fromField(wire.EnvServiceAccount, "spec.serviceAccountName"),
		fromField(wire.EnvInstanceIPs, "status.podIPs"),
		fromField(wire.EnvHostIP, "status.hostIP"),
		fromField(wire.EnvNodeName, "spec.nodeName"),
		{Name: wire.EnvRole, Value: wire.NodeSidecar},
		{Name: wire.EnvDiscoveryAddress, Value: p.DiscoveryAddress},
		{Name: wire.EnvCAAddress, Value: firstOf(p.CAAddress, p.DiscoveryAddress)},
		{Name: wire.EnvTrustDomain, Value: p.TrustDomain},
		{Name: wire.EnvClusterID, Value: p.ClusterID},
		{Name: wire.EnvClusterDomain, Value: p.ClusterDomain},
		{Name: wire.EnvLogLevel, Value: s.logLevel},
		{Name: wire.EnvCertTTL, Value: p.CertTTL.String()},
		{Name: wire.EnvDrainDuration, Value: s.config.Drain.String()},
		{Name: wire.EnvTerminationGrace, Value: strconv.FormatInt(grace, 10)},
		{Name: wire.EnvNativeSidecar, Value: strconv.FormatBool(s.native)},
		{Name: wire.EnvWorkloadName, Value: s.workload},
	}
	if s.config.Restart != 0 {
		env = append(env, corev1.EnvVar{Name: wire.EnvRestartDrain, Value: s.config.Restart.String()})
	}
	if s.dns {
		env = append(env, corev1.EnvVar{Name: wire.EnvDNSCapture, Value: "true"}, corev1.EnvVar{Name: wire.EnvDNSAutoAllocate, Value: strconv.FormatBool(s.allocate)})
	}
	if s.onDemand {
		env = append(env, corev1.EnvVar{Name: wire.EnvOnDemand, Value: "true"})
	}
	if ends && !s.native {
		env = append(env, corev1.EnvVar{Name: wire.EnvAwaitCompletion, Value: "true"})
	}
	if len(probes) > 0 {
		env = append(env, corev1.EnvVar{Name: wire.EnvAppProbes, Value: probes.json()})
	}
	if metrics != "" {
		env = append(env, corev1.EnvVar{Name: wire.EnvAppPrometheus, Value: metrics})
	}
	if limit := s.resources.Limits.Memory(); !limit.IsZero() {
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(limit.Value()/100*wire.MemoryTarget, 10)})
	}
	return s.config.environment(env)
}

// environment adds what a ProxyConfig says.
func (c *ProxyConfig) environment(env []corev1.EnvVar) []corev1.EnvVar {
	if n := c.Concurrency; n != nil && *n > 0 {
		env = append(env, corev1.EnvVar{Name: "GOMAXPROCS", Value: strconv.Itoa(int(*n))})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Environment)) {
		env = slices.DeleteFunc(env, func(e corev1.EnvVar) bool { return e.Name == name })
		env = append(env, corev1.EnvVar{Name: name, Value: c.Environment[name]})
	}
	return env
}

func (t appProbes) json() string {
	text, err := json.Marshal(t) // sorts the paths
	if err != nil {
		panic("inject: probes are always JSON: " + err.Error())
	}
	return string(text)
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

func addVolumes(pod *corev1.Pod, p Params) {
	pod.Spec.Volumes = append(pod.Spec.Volumes,
		corev1.Volume{Name: volumeToken, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: p.Audience, ExpirationSeconds: new(int64(tokenLife)), Path: tokenFile,
			}}},
		}}},
		corev1.Volume{Name: volumeRoot, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: wire.RootConfigMap},
		}}},
		corev1.Volume{Name: volumePodInfo, VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{fileFrom("labels"), fileFrom("annotations")},
		}}},
	)
	for _, name := range p.PullSecrets {
		if secret := (corev1.LocalObjectReference{Name: name}); !slices.Contains(pod.Spec.ImagePullSecrets, secret) {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, secret)
		}
	}
}

func fileFrom(name string) corev1.DownwardAPIVolumeFile {
	return corev1.DownwardAPIVolumeFile{Path: name, FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata." + name}}
}

package inject

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/redirect"
)

// Params is what the mesh says about every injection. It is read only, and passes from the control plane to the command line as JSON.
type Params struct {
	Image            string // of the proxy and of the redirection
	PullPolicy       corev1.PullPolicy
	PullSecrets      []string // Secrets to pull the image with; each must be in the pod's own namespace
	Version          string   // recorded in the status annotation
	Revision         string   // of the control plane that injects, recorded there too; empty: the default one
	DiscoveryAddress string   // host:port
	CAAddress        string   // empty: DiscoveryAddress
	Audience         string   // of the projected token
	TrustDomain      string
	ClusterID        string
	ClusterDomain    string
	LogLevel         string
	CertTTL          time.Duration
	DrainDuration    time.Duration

	// Native is whether every node runs init containers with restartPolicy Always (see NativeSupported).
	Native bool
	// MergePrometheus has the proxy serve the application's metrics beside its own.
	MergePrometheus bool
	// Capture is what is captured where no annotation says otherwise.
	Capture redirect.Spec

	// DNSCapture has proxies answer their pods' DNS questions, with DNSAllocate also with addresses that the mesh gave to ServiceEntries.
	DNSCapture  bool
	DNSAllocate bool
	// OnDemand has proxies ask for hosts, clusters and listeners when they are first used.
	OnDemand bool

	// Proxy is how proxies run where nothing else says it, and ProxyConfigs what objects say, the oldest first; those of RootNamespace without a
	// selector speak for the whole mesh.
	Proxy         ProxyConfig
	ProxyConfigs  []ProxyConfig
	RootNamespace string

	// HookToken is part of the paths of lifecycle hooks that the proxy takes over, so that only who may read the pod can have them run: the port
	// is open to other pods. Who injects makes it at random; pods without such hooks need none.
	HookToken string

	// IstioLabels has the labels by which Istio enrols namespaces and pods count, where Heddle's own say nothing.
	IstioLabels bool

	IgnoredNamespaces []string
	NeverInject       []metav1.LabelSelector // of pods, whatever their namespace says; an empty one matches none
	AlwaysInject      []metav1.LabelSelector // of pods, unless their namespace opts out; an empty one matches none
	Resources         corev1.ResourceRequirements
}

// Defaults of Params.
const (
	tokenLife       = 12 * 60 * 60 // seconds; the kubelet renews the file at four fifths of it
	defaultDrain    = 45 * time.Second
	defaultCertTTL  = 24 * time.Hour
	defaultLogLevel = "info"
)

// DefaultParams returns the defaults of an installation with the given proxy image: what the values of the control-plane chart say.
func DefaultParams(image, version string) Params {
	return Params{
		Image:             image,
		PullPolicy:        corev1.PullIfNotPresent,
		Version:           version,
		DiscoveryAddress:  wire.DiscoveryService + "." + wire.SystemNamespace + ".svc:15012",
		Audience:          wire.TokenAudience,
		TrustDomain:       wire.DefaultTrustDomain,
		ClusterID:         wire.DefaultClusterID,
		ClusterDomain:     wire.DefaultClusterDomain,
		LogLevel:          defaultLogLevel,
		CertTTL:           defaultCertTTL,
		DrainDuration:     defaultDrain,
		Native:            true,
		MergePrometheus:   true,
		Capture:           redirect.DefaultSpec(),
		DNSAllocate:       true,
		RootNamespace:     wire.SystemNamespace,
		IgnoredNamespaces: DefaultIgnoredNamespaces(),
		Resources: corev1.ResourceRequirements{
			Requests: quantities("10m", "40Mi"),
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
	}
}

// DefaultIgnoredNamespaces are those whose pods are never injected, whatever they say.
func DefaultIgnoredNamespaces() []string {
	return []string{"kube-system", "kube-public", "kube-node-lease", wire.SystemNamespace}
}

func quantities(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

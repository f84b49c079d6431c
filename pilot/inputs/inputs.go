// Package inputs is everything that translation may see: the current objects, typed, read strictly and never changed after. It
// knows how objects are written (Decode), not what they mean, and it reads nothing itself: source fills it.
package inputs

import (
	mesh "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	proxyconfig "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Inputs is the state of the cluster at one moment. Lists are in no order. Equal pointers mean equal objects, and one list in two Inputs
// means that nothing on it changed, so that results may be remembered by them.
type Inputs struct {
	Mesh *Mesh // never nil

	Namespaces     []*corev1.Namespace
	Services       []*corev1.Service
	EndpointSlices []*discoveryv1.EndpointSlice
	Pods           []*corev1.Pod // without what nobody reads
	Nodes          []*corev1.Node

	VirtualServices       []*VirtualService
	DestinationRules      []*DestinationRule
	Gateways              []*Gateway
	ServiceEntries        []*ServiceEntry
	WorkloadEntries       []*WorkloadEntry
	Sidecars              []*Sidecar
	PeerAuthentications   []*PeerAuthentication
	AuthorizationPolicies []*AuthorizationPolicy
	Telemetries           []*Telemetry
	ProxyConfigs          []*ProxyConfig
	WorkloadGroups        []*WorkloadGroup
	Ingresses             []*Ingress // of every class
	IngressClasses        []*IngressClass
	// Unimplemented are objects of kinds that this version knows by name only.
	Unimplemented []*Unimplemented
	// Unreadable are objects that could not be read at all: files only, since a cluster stores none.
	Unreadable []Unreadable
}

// Mesh is the settings of the whole mesh.
type Mesh struct {
	Config        *mesh.MeshConfig // never nil; defaults are not applied
	Problems      []Problem
	Namespace     string // of the control plane, and of the ConfigMap; the root namespace unless Config names another
	Name          string // of the ConfigMap; empty: wire.MeshConfigMap
	ClusterID     string
	ClusterDomain string
	TrustDomain   string // that the certificate authority issues for; empty: Config's, or else cluster.local
	// StrictHostOwnership: rules for Services of other namespaces are not for sidecars. Istio has no such setting.
	StrictHostOwnership bool
	// Machines: machines outside of the cluster may register themselves by WorkloadGroups. Istio has no such setting, and always lets them.
	Machines bool
	// MachinesPerAccount is how many of them one service account may have; 0: nobody said; below 0: as many as it has.
	MachinesPerAccount int
	// PersistentSessions: labels of Services keep clients with their endpoints. In Istio, a flag of its control plane says so.
	PersistentSessions bool
	// IstioLabels: namespaces that are enrolled by Istio's labels are Heddle's, where Heddle's own labels say nothing. A flag of heddled says so.
	IstioLabels bool
}

// Problem is something in an object that strict reading found: a field that the schema does not know, or a value that it does
// not allow.
type Problem struct {
	Path   string // "spec.http[0].retires"
	Reason string
}

// Unreadable is an object that is not understood at all.
type Unreadable struct {
	Group, Kind, Namespace, Name string
	Problem                      Problem
}

// Config is one object of the Kinds. What could not be read is absent from Spec and named in Problems.
type Config[S any] struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	Spec     *S // never nil
	Problems []Problem
	// Given are the addresses that the status of a ServiceEntry says its hosts were given.
	Given []HostAddress
	// Unhealthy is whether a WorkloadEntry is probed, and its status does not say that it is healthy.
	Unhealthy bool
}

// HostAddress is an address that the mesh gave to a host, as a ServiceEntry's status.addresses has it.
type HostAddress struct {
	Host  string `json:"host"`
	Value string `json:"value"`
}

// DeepCopyObject is there for runtime.Object. Objects are immutable, so that a shallow copy is enough.
func (c *Config[S]) DeepCopyObject() runtime.Object {
	out := *c
	return &out
}

// Issues returns what strict reading found.
func (c *Config[S]) Issues() []Problem { return c.Problems }

// Object is any object that can be judged.
type Object interface {
	runtime.Object
	metav1.Object
	Issues() []Problem
}

// The kinds that this version implements.
type (
	VirtualService      = Config[networking.VirtualService]
	DestinationRule     = Config[networking.DestinationRule]
	Gateway             = Config[networking.Gateway]
	ServiceEntry        = Config[networking.ServiceEntry]
	WorkloadEntry       = Config[networking.WorkloadEntry]
	Sidecar             = Config[networking.Sidecar]
	PeerAuthentication  = Config[security.PeerAuthentication]
	AuthorizationPolicy = Config[security.AuthorizationPolicy]
	Telemetry           = Config[telemetry.Telemetry]
	ProxyConfig         = Config[proxyconfig.ProxyConfig]
	WorkloadGroup       = Config[networking.WorkloadGroup]
	Ingress             = Config[networkingv1.IngressSpec]
	IngressClass        = Config[networkingv1.IngressClassSpec]
	// Unimplemented is an object of a kind that this version does not implement.
	Unimplemented = Config[struct{}]
)

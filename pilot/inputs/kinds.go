package inputs

import (
	"sync"

	networking "istio.io/api/networking/v1alpha3"
	proxyconfig "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	networkingv1 "k8s.io/api/networking/v1"
)

// The API groups.
const (
	GroupNetworking = "networking.istio.io"
	GroupSecurity   = "security.istio.io"
	GroupTelemetry  = "telemetry.istio.io"
	GroupExtensions = "extensions.istio.io"
	GroupGateway    = "gateway.networking.k8s.io"
	GroupKubernetes = "networking.k8s.io"
)

// Kind is one kind of object that Decode reads.
type Kind struct {
	Group, Kind, Resource string
	// Version is the one to watch; Versions are those that may be written.
	Version  string
	Versions []string
	// Security kinds fail closed.
	Security bool
	// Implemented is false for kinds that this version refuses.
	Implemented bool
	// Global kinds have no namespace.
	Global bool
	decode func(raw rawObject) Object
	add    func(in *Inputs, o Object)
}

// Kinds returns every kind of object that Decode reads.
func Kinds() []Kind {
	v1 := []string{"v1", "v1beta1", "v1alpha3"}
	return []Kind{
		{Group: GroupNetworking, Kind: "VirtualService", Resource: "virtualservices", Version: "v1", Versions: v1, Implemented: true,
			decode: decodeAs[networking.VirtualService], add: func(in *Inputs, o Object) { put(&in.VirtualServices, o) }},
		{Group: GroupNetworking, Kind: "DestinationRule", Resource: "destinationrules", Version: "v1", Versions: v1, Implemented: true,
			decode: decodeAs[networking.DestinationRule], add: func(in *Inputs, o Object) { put(&in.DestinationRules, o) }},
		{Group: GroupNetworking, Kind: "Gateway", Resource: "gateways", Version: "v1", Versions: v1, Implemented: true,
			decode: decodeAs[networking.Gateway], add: func(in *Inputs, o Object) { put(&in.Gateways, o) }},
		{Group: GroupNetworking, Kind: "ServiceEntry", Resource: "serviceentries", Version: "v1", Versions: v1, Implemented: true,
			decode: decodeAs[networking.ServiceEntry], add: func(in *Inputs, o Object) { put(&in.ServiceEntries, o) }},
		{Group: GroupNetworking, Kind: "WorkloadEntry", Resource: "workloadentries", Version: "v1", Versions: v1, Implemented: true,
			decode: decodeAs[networking.WorkloadEntry], add: func(in *Inputs, o Object) { put(&in.WorkloadEntries, o) }},
		{Group: GroupNetworking, Kind: "Sidecar", Resource: "sidecars", Version: "v1", Versions: v1, Implemented: true,
			decode: decodeAs[networking.Sidecar], add: func(in *Inputs, o Object) { put(&in.Sidecars, o) }},
		{Group: GroupSecurity, Kind: "PeerAuthentication", Resource: "peerauthentications", Version: "v1", Versions: v1[:2], Security: true, Implemented: true,
			decode: decodeAs[security.PeerAuthentication], add: func(in *Inputs, o Object) { put(&in.PeerAuthentications, o) }},
		{Group: GroupSecurity, Kind: "AuthorizationPolicy", Resource: "authorizationpolicies", Version: "v1", Versions: v1[:2], Security: true, Implemented: true,
			decode: decodeAs[security.AuthorizationPolicy], add: func(in *Inputs, o Object) { put(&in.AuthorizationPolicies, o) }},
		{Group: GroupTelemetry, Kind: "Telemetry", Resource: "telemetries", Version: "v1", Versions: []string{"v1", "v1alpha1"}, Implemented: true,
			decode: decodeAs[telemetry.Telemetry], add: func(in *Inputs, o Object) { put(&in.Telemetries, o) }},
		{Group: GroupNetworking, Kind: "ProxyConfig", Resource: "proxyconfigs", Version: "v1beta1", Versions: v1[1:2], Implemented: true,
			decode: decodeAs[proxyconfig.ProxyConfig], add: func(in *Inputs, o Object) { put(&in.ProxyConfigs, o) }},
		{Group: GroupNetworking, Kind: "WorkloadGroup", Resource: "workloadgroups", Version: "v1", Versions: v1, Implemented: true,
			decode: decodeAs[networking.WorkloadGroup], add: func(in *Inputs, o Object) { put(&in.WorkloadGroups, o) }},
		{Group: GroupKubernetes, Kind: "Ingress", Resource: "ingresses", Version: "v1", Versions: v1[:1], Implemented: true,
			decode: decodePlain[networkingv1.IngressSpec], add: func(in *Inputs, o Object) { put(&in.Ingresses, o) }},
		{Group: GroupKubernetes, Kind: "IngressClass", Resource: "ingressclasses", Version: "v1", Versions: v1[:1], Implemented: true, Global: true,
			decode: decodePlain[networkingv1.IngressClassSpec], add: func(in *Inputs, o Object) { put(&in.IngressClasses, o) }},
		unimplemented(GroupSecurity, "RequestAuthentication", "requestauthentications", "v1", "v1beta1"),
		unimplemented(GroupNetworking, "EnvoyFilter", "envoyfilters", "v1alpha3"),
		unimplemented(GroupExtensions, "WasmPlugin", "wasmplugins", "v1alpha1"),
	}
}

func unimplemented(group, kind, resource string, versions ...string) Kind {
	return Kind{Group: group, Kind: kind, Resource: resource, Version: versions[0], Versions: versions,
		decode: decodeUnimplemented, add: func(in *Inputs, o Object) { put(&in.Unimplemented, o) }}
}

func put[S any](list *[]*Config[S], o Object) { *list = append(*list, o.(*Config[S])) }

// FindKind returns the kind of a group, or false.
func FindKind(group, kind string) (Kind, bool) {
	all := everyKind()
	for i := range all {
		if all[i].Group == group && all[i].Kind == kind {
			return all[i], true
		}
	}
	return Kind{}, false
}

// everyKind is Kinds without a list for each caller: every object is looked up when it is judged.
var everyKind = sync.OnceValue(Kinds)

// Add puts an object that Decode made on its list.
func (in *Inputs) Add(o Object) {
	gvk := o.GetObjectKind().GroupVersionKind()
	if k, ok := FindKind(gvk.Group, gvk.Kind); ok {
		k.add(in, o)
	}
}

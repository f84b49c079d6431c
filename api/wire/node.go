package wire

// Dialect is the version of dialect.md that this build speaks. Pilot generates for the dialect that a proxy announces, back to OldestDialect; "Dialects" in
// dialect.md says what each brought.
const (
	Dialect       = 2
	OldestDialect = 1
)

// Node types: the first part of node.id.
const (
	NodeSidecar = "sidecar"
	NodeRouter  = "router"
)

// Keys of node.metadata. Pilot takes what matters (pod, labels, namespace, account, role) from the pod that the proof names; a
// claim that contradicts the proof ends the stream.
const (
	MetaNamespace      = "NAMESPACE"
	MetaPodName        = "NAME"
	MetaServiceAccount = "SERVICE_ACCOUNT"
	MetaInstanceIPs    = "INSTANCE_IPS" // comma-separated
	MetaClusterID      = "CLUSTER_ID"
	MetaNodeName       = "NODE_NAME"
	MetaVersion        = "HEDDLE_VERSION"
	MetaDialect        = "HEDDLE_DIALECT" // decimal; absent: a foreign proxy (stock Envoy)
	// MetaGenerator is GeneratorGRPC where the client is a program with gRPC's xDS client, without a proxy.
	MetaGenerator = "GENERATOR"
	// MetaDNSCapture is "true" where the proxy answers its pod's DNS questions. Believed: it concerns that proxy alone.
	MetaDNSCapture = "DNS_CAPTURE"
	// MetaDNSAutoAllocate is "false" where such a proxy is not to be told addresses that the mesh gave to ServiceEntries without.
	MetaDNSAutoAllocate = "DNS_AUTO_ALLOCATE"
	// MetaOnDemand is "true" where a sidecar asks for hosts, clusters and listeners when they are first used. Believed: it concerns that proxy alone.
	MetaOnDemand = "HEDDLE_ON_DEMAND"
	// MetaGroup is the WorkloadGroup of a proxy on a machine outside of Kubernetes, in the namespace that its proof names. Its address is the first of
	// MetaInstanceIPs. Believed where the group is for the account that the proof names.
	MetaGroup = "AUTO_REGISTER_GROUP"
	// MetaCertificates is the folder of a foreign proxy's own certificate, an absolute path; absent: AgentPath. Believed: it is that proxy's disk.
	MetaCertificates = "HEDDLE_CERTIFICATES"
)

// GeneratorGRPC is a value of MetaGenerator.
const GeneratorGRPC = "grpc"

// EndpointMetadata is the filter_metadata key under which an endpoint carries its facts: a struct with the Fact keys, all
// strings. TLSModeMatch is the key that Envoy matches transport sockets by.
const (
	EndpointMetadata = "heddle.workload"
	TLSModeMatch     = "envoy.transport_socket_match"
	TLSModeKey       = "tlsMode" // under TLSModeMatch: "istio" when the endpoint takes mesh mTLS
	TLSModeMesh      = "istio"

	FactIdentity          = "identity" // spiffe://td/ns/ns/sa/sa of the endpoint's workload
	FactWorkload          = "workload" // owner's name: Deployment, StatefulSet, ...
	FactNamespace         = "namespace"
	FactPod               = "pod"
	FactCanonicalName     = "canonical_name"
	FactCanonicalRevision = "canonical_revision"
	FactApp               = "app"
	FactVersion           = "version"
	FactCluster           = "cluster"
)

// ClusterMetadata is the filter_metadata key under which a cluster carries what telemetry calls the destination service: a struct
// with the Service keys.
const (
	ClusterMetadata  = "heddle.service"
	ServiceHost      = "host"
	ServiceName      = "name"
	ServiceNamespace = "namespace"
	// ServiceExternal is "true" for hosts outside the mesh: mesh headers do not leave to them.
	ServiceExternal = "external"
	// ServiceAddress is ip:port of the Service itself, of whole services in the cluster that have an address of their own. A proxy whose every
	// known endpoint refuses connections, none of which takes mesh mTLS, dials it: what it knows may be old, what the node knows is not.
	ServiceAddress = "address"
	// ServicePort is the port to connect to, of clusters that look names up as requests bring them.
	ServicePort = "port"
	// ServiceSelf is addresses, comma-separated, where such a cluster of a gateway would lead back to the gateway: of its Services, and of the pods behind
	// these. Names never lead there.
	ServiceSelf = "self"
)

// ListenerMetadata is the filter_metadata key under which a listener of virtualInbound carries the facts of the workload
// itself, with the Fact keys, so that a proxy names itself in telemetry as pilot names it to others.
const ListenerMetadata = "heddle.self"

// SelfTrustDomains is a key beside these: the mesh's trust domain and its aliases, comma-separated, where there are any. Their identities are the mesh's to
// give.
const SelfTrustDomains = "trust_domains"

// OnDemandMetadata is the filter_metadata key under which the listener that captures connections says what they are to ask for first: a struct
// whose OnDemandListeners is "true" where the listeners of their destination are known only once they were asked for.
const (
	OnDemandMetadata  = "heddle.on_demand"
	OnDemandListeners = "listeners"
)

// RuleMetadata is the filter_metadata key, Istio's, under which a route or a filter chain carries the user's rule that it was made of.
const (
	RuleMetadata = "istio"
	RuleObject   = "config" // /apis/networking.istio.io/v1/namespaces/shop/virtual-service/catalog
	RulePath     = "rule"   // "http[1].match[0]"; below spec
)

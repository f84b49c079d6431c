package wire

// Names in the cluster.
const (
	SystemNamespace       = "heddle-system"
	InjectionLabel        = "heddle-injection"                // on namespaces: enabled | disabled
	OnDemandLabel         = "heddle.io/on-demand"             // on namespaces: "true" | "false", over what the mesh says
	RevisionLabel         = "heddle.io/rev"                   // on namespaces and pods: the revision, or the tag, that they are of
	TagLabel              = "heddle.io/tag"                   // on a tag's webhook configuration, beside RevisionLabel
	DefaultRevision       = "default"                         // what the revision without a name is called in labels
	PodInjectLabel        = "sidecar.heddle.io/inject"        // on pods: "true" | "false"
	StatusAnnotation      = "sidecar.heddle.io/status"        // on pods: what was injected
	TLSModeLabel          = "security.istio.io/tlsMode"       // on pods: istio
	CanonicalNameLabel    = "service.istio.io/canonical-name" // on pods
	CanonicalRevLabel     = "service.istio.io/canonical-revision"
	RootConfigMap         = "heddle-ca-root-cert" // in every namespace
	RootConfigMapKey      = "root-cert.pem"
	RootSecret            = "heddle-ca" // in SystemNamespace
	DiscoveryService      = "heddled"   // Service of the control plane; of a revision, its name follows (internal/revision)
	TokenAudience         = "heddle-ca"
	DefaultTrustDomain    = "cluster.local"
	DefaultClusterID      = "Kubernetes"
	DefaultClusterDomain  = "cluster.local"
	ProxyContainer        = "heddle-proxy"
	RedirectContainer     = "heddle-redirect"
	MeshConfigMap         = "heddle" // of each revision: mesh settings (key mesh: istio MeshConfig YAML)
	MeshConfigMapKey      = "mesh"
	StrictOwnershipKey    = "strictHostOwnership" // of the same ConfigMap: "true" | "false"
	MachinesKey           = "machines"            // of the same ConfigMap: "true" | "false"
	MachinesMostKey       = "machinesPerAccount"  // likewise: how many one service account may have registered
	SessionsKey           = "persistentSessions"  // likewise: "true" | "false"
	LeaderElectionLease   = "heddle-leader"
	DistributionConfigMap = "heddle-distribution" // replicas, of whatever revision, tell each other how far their proxies are; a key for each
	GatewayClass          = "heddle"
	GatewayControllerName = "heddle.dev/gateway-controller"
	IngressClass          = "heddle" // the chart's IngressClass, and the annotation's value
	IngressControllerName = "heddle.dev/ingress-controller"
	// IngressClassAnnotation names a class on an Ingress, as was done before there were IngressClasses.
	IngressClassAnnotation = "kubernetes.io/ingress.class"
	VersionLabel           = "heddle.dev/version" // on CRDs that we installed
)

// Paths in a proxy's container.
const (
	TokenPath   = "/var/run/secrets/tokens/heddle-token"
	RootPath    = "/var/run/secrets/heddle/root-cert.pem"
	PodInfoPath = "/etc/heddle/pod" // downward API: labels, annotations
)

// Files that "heddle-proxy agent" keeps in its folder, and that a foreign proxy is told to read there.
const (
	AgentPath = "/var/run/secrets/heddle-agent" // the folder, where nobody says another
	FileChain = "cert-chain.pem"                // leaf first, without the root
	FileKey   = "key.pem"                       // PKCS #8; the owner's alone
	FileRoots = "root-cert.pem"
)

// Fixed clusters.
const (
	ClusterBlackHole          = "BlackHoleCluster"
	ClusterPassthrough        = "PassthroughCluster"
	ClusterInboundPassthrough = "InboundPassthroughCluster"
	ClusterAnyName            = "AllowAnyDynamicDNSCluster" // where the names of unknown hosts lead
)

// ServerListenerPrefix and the address that it listens on (ip:port) is the listener that a program with gRPC's xDS server asks for.
const ServerListenerPrefix = "xds.istio.io/grpc/lds/inbound/"

// Fixed listeners.
const (
	ListenerVirtualOutbound = "virtualOutbound"
	ListenerVirtualInbound  = "virtualInbound"
)

// ALPN protocols of mesh mTLS. A server tells mesh mTLS from an application's own TLS by them.
const (
	ALPNMesh     = "istio"
	ALPNPeerData = "istio-peer-exchange"
	ALPNHTTP10   = "istio-http/1.0"
	ALPNHTTP11   = "istio-http/1.1"
	ALPNHTTP2    = "istio-h2"
)

// SDS names. The workload's own are answered by the proxy itself and never asked for over ADS.
const (
	SecretWorkload = "default"
	SecretRoot     = "ROOTCA"
	// ProviderWorkload is the certificate provider that a program with gRPC's xDS client names in its bootstrap, for both.
	ProviderWorkload = "default"
	SecretPrefix     = "kubernetes://" // gateways: kubernetes://name or kubernetes://name-cacert, in the gateway's namespace; kubernetes://namespace/name in another
	CACertSuffix     = "-cacert"
)

// Files of a machine outside of the cluster, as meshctl writes them and its proxy reads them.
const (
	MachinePath     = "/etc/heddle"  // the folder, where nobody says another
	FileEnvironment = "cluster.env"  // lines NAME=value, under what the process's own environment says
	FileMachine     = "mesh.yaml"    // Istio's MeshConfig, of which defaultConfig.readinessProbe is read
	FileToken       = "token"        // proves the machine once, until it has a certificate
	FileHosts       = "hosts"        // lines for /etc/hosts
	MachineKept     = "certificates" // folder of the machine's certificate and key
	MachineTakeover = "takeover"     // socket in that folder, by which the next process takes over
)

// Annotations of a WorkloadEntry that a machine's registration made, as Istio writes them.
const (
	// RegistrationGroup is the WorkloadGroup, of the same namespace.
	RegistrationGroup = "istio.io/autoRegistrationGroup"
	// RegistrationController is who made the entry and removes it: RegistrationPrefix, and the namespace and name of a replica of the control plane.
	RegistrationController = "istio.io/workloadController"
	RegistrationPrefix     = "heddle.io/"
	// RegistrationConnected is since when the machine's proxy is connected to that replica, RFC 3339 with nanoseconds.
	RegistrationConnected = "istio.io/connectedAt"
	// HealthChecked is "true" on an entry whose proxy probes: it has no endpoints but while its condition HealthCondition is True.
	HealthChecked   = "proxy.istio.io/health-checks-enabled"
	HealthCondition = "Healthy"
)

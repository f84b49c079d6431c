package model

// Snapshot is the whole mesh at one moment, without endpoints, which travel in a lane of their own (EndpointIndex).
type Snapshot struct {
	Mesh *Mesh
	// Services by precedence: for equal hosts Kubernetes Services come before ServiceEntries, older before younger.
	Services []*Service
	// VirtualServices by creation time (seconds), then name, then namespace: the first for a host wins in the mesh. Delegates are resolved.
	VirtualServices []*VirtualService
	// DestinationRules, merged within a namespace, by namespace; in each the most specific host first.
	DestinationRules map[string][]*DestinationRule
	// Gateways by creation time, then name, then namespace.
	Gateways []*Gateway
	// Ingress is what else there is to know of Ingresses, whose rules are among VirtualServices and Gateways, after all others. Never nil.
	Ingress *Ingress
	// Sidecars by creation time, then name, then namespace.
	Sidecars []*Sidecar
	// PeerAuthentications by creation time, then name, then namespace.
	PeerAuthentications []*PeerAuthentication
	// Authorizations by namespace, then name.
	Authorizations []*Authorization
	// Telemetries and ProxyConfigs by creation time, then name, then namespace.
	Telemetries  []*Telemetry
	ProxyConfigs []*ProxyConfig
	// WorkloadGroups are those that machines may register themselves by: none where the mesh lets none.
	WorkloadGroups map[Name]*WorkloadGroup

	// BesideIstio: Istio's control plane runs in the cluster too.
	BesideIstio bool
}

// Mesh is the settings of the whole mesh, with defaults applied.
type Mesh struct {
	TrustDomain        string
	TrustDomainAliases []string
	RootNamespace      string
	ClusterDomain      string // cluster.local
	ClusterID          string
	// StrictHosts: rules of other namespaces for a Service are for gateways only.
	StrictHosts bool
	// Machines: machines outside of the cluster may register themselves.
	Machines bool
	// MachinesPerAccount is how many of them one service account may have; 0: nobody said; below 0: as many as it has.
	MachinesPerAccount int
	// Sessions: labels of services keep clients with their endpoints.
	Sessions bool
	// RegistryOnly refuses hosts that are not in the registry (outboundTrafficPolicy REGISTRY_ONLY).
	RegistryOnly bool
	// AnyName sends HTTP for hosts that are not in the registry where their names lead (ALLOW_ANY_DYNAMIC_DNS), secured as AnyNameTLS says.
	AnyName    bool
	AnyNameTLS *ClientTLS
	// AutoMTLS speaks mesh mTLS to endpoints that take it where no DestinationRule says otherwise.
	AutoMTLS bool
	// DefaultExport are the visibilities of objects without exportTo.
	ServiceExport, VirtualServiceExport, DestinationRuleExport Visibility
	DefaultRetry                                               *Retry
	ConnectTimeout                                             Duration
	// Baseline is defaultTrafficPolicy: of connections to services, where no DestinationRule says otherwise. Nil: there is none.
	Baseline *TrafficPolicy
	// AccessLog is in force where neither DefaultLogs nor a Telemetry names providers.
	AccessLog AccessLog
	// LogProviders are where providers of access logs write, by name, and TracingProviders where those of tracing send spans, as in Tracing.
	LogProviders     map[string]AccessLog
	TracingProviders map[string]string
	DefaultLogs      []string // providers
	MetricProviders  []string // besides prometheus
	Tracing          Tracing
	ListenerLogOff   bool // connections that nothing serves have no line
	// DetectionTimeout is how long the first bytes of a connection are waited for; 0: without end.
	DetectionTimeout  Duration
	Keepalive         *Keepalive // of connections, in what no DestinationRule says; nil: none
	UpgradeHTTP2      bool       // h2UpgradePolicy UPGRADE, likewise
	DNSRefresh        Duration   // how often names are looked up again; 0: 60 s
	PathNormalization PathNormalization
	// Locality is the preference where neither a DestinationRule nor a service has one. Nil: none.
	Locality *LocalityPolicy
	// MeshTLS is what mesh mTLS agrees on; TLS is what all other TLS agrees on that proxies begin or end, where a Gateway's server says nothing
	// narrower.
	MeshTLS, TLS TLSParameters
	Topology     Topology // of gateways whose pods say none
	Headers      ProxyHeaders
	// Proxy is what defaultConfig says of how proxies run.
	Proxy ProxyConfig
	// DNSCapture is whether proxies answer their pods' DNS questions where no pod says otherwise; with DNSUnallocated without the addresses that the mesh
	// gave to ServiceEntries.
	DNSCapture, DNSUnallocated bool
	// OnDemand is whether sidecars ask for hosts, clusters and listeners when they are first used, where neither namespace nor pod says otherwise.
	OnDemand bool
	Ingress  IngressSettings
}

// Topology is gatewayTopology: what stands before a gateway.
type Topology struct {
	TrustedProxies    uint32 // numTrustedProxies
	ForwardClientCert string // forwardClientCertDetails: what becomes of X-Forwarded-Client-Cert; "": SANITIZE_SET
	ProxyProtocol     bool   // clients are proxies that say with the PROXY protocol for whom they connect
}

// ProxyHeaders is defaultConfig.proxyHeaders: what proxies add to requests and responses. The zero value is the default of each field.
type ProxyHeaders struct {
	Server            string // of all proxies; "": each role's own
	KeepServer        bool   // the server header is the application's
	NoRequestID       bool
	NoAttemptCount    bool
	ForwardedHost     bool       // X-Forwarded-Host gets the old host of requests for which it is rewritten
	ForwardedPort     bool       // X-Forwarded-Port is the port that clients of gateways have connected to
	NoEnvoyHeaders    bool       // of those that tell of forwarding
	ForwardClientCert string     // what sidecars do with X-Forwarded-Client-Cert of inbound requests; "": APPEND_FORWARD
	ClientCert        ClientCert // what they tell there
}

// ClientCert is what X-Forwarded-Client-Cert tells of a client's certificate, besides its hash.
type ClientCert struct {
	NoSubject, NoURI, NoDNS bool
	PEM                     bool // all of it
}

// Keepalive is TCP's. What is zero is as the proxy's system has it.
type Keepalive struct {
	Probes         uint32
	Time, Interval Duration
}

// TLSParameters are what may be agreed on. Zero values are the mesh's own choice.
type TLSParameters struct {
	MinVersion string   // "1.2" or "1.3"; "": 1.2
	Ciphers    []string // of TLS 1.2, by OpenSSL's names
	Curves     []string // for key exchange, by Envoy's names: "P-256", "X25519", ...
}

// AccessLog is where and how proxies log. An empty File means off.
type AccessLog struct {
	File   string
	JSON   bool
	Format string // empty: the default format
	Filter string // an expression of CEL that requests must meet to have a line; empty: each has
}

// Tracing is where spans go. An empty Target means off.
type Tracing struct {
	Target   string  // host:port of an OTLP gRPC receiver
	Sampling float64 // percent, 0..100
	MaxPath  uint32  // bytes of a path that a span tells; 0: 256
	Tags     []SpanTag
	Silent   bool // upstreams are not told of traces
}

// PathNormalization is meshConfig.pathNormalization.normalization.
type PathNormalization uint8

// The modes of path normalisation. The zero value is the default.
const (
	PathBase PathNormalization = iota
	PathNone
	PathMergeSlashes
	PathDecodeAndMergeSlashes
)

package wire

import "strings"

// Environment of heddle-proxy. The injector (sidecars) and the gateway chart or controller (gateways) set it; only
// cmd/heddle-proxy/config.go reads it. A name in the first group is always set for a sidecar; others may be absent or empty, and
// then have the default that their line names.
const (
	EnvPodName        = "POD_NAME"
	EnvPodNamespace   = "POD_NAMESPACE"
	EnvPodUID         = "POD_UID"
	EnvServiceAccount = "SERVICE_ACCOUNT"
	EnvInstanceIPs    = "INSTANCE_IPS" // status.podIPs: comma-separated, both families
	EnvHostIP         = "HOST_IP"
	EnvNodeName       = "NODE_NAME"

	EnvRole             = "HEDDLE_ROLE"                  // NodeSidecar | NodeRouter; default sidecar
	EnvDiscoveryAddress = "HEDDLE_DISCOVERY_ADDRESS"     // host:port of xDS; default heddled.heddle-system.svc:15012
	EnvCAAddress        = "HEDDLE_CA_ADDRESS"            // host:port of the CA; default the discovery address
	EnvTrustDomain      = "HEDDLE_TRUST_DOMAIN"          // default cluster.local
	EnvClusterID        = "HEDDLE_CLUSTER_ID"            // default Kubernetes
	EnvClusterDomain    = "HEDDLE_CLUSTER_DOMAIN"        // default cluster.local
	EnvLogLevel         = "HEDDLE_LOG_LEVEL"             // debug | info | warn | error; default info
	EnvDialect          = "HEDDLE_DIALECT"               // the dialect that the proxy announces; default this build's; an older one shows what older proxies are told
	EnvCertTTL          = "HEDDLE_CERT_TTL"              // Go duration asked for in the CSR request; default 24h, the CA caps it
	EnvForeignPlane     = "HEDDLE_FOREIGN_CONTROL_PLANE" // true: it is not Heddle's; what it asks for and the proxy does not honour is refused only where it may concern security
	EnvTakeover         = "HEDDLE_TAKEOVER"              // path of a socket by which the next process takes over from this one; default none, on machines one beside the certificate
	EnvDrainDuration    = "HEDDLE_DRAIN_DURATION"        // Go duration: how long connections, or a silent application, may go on at the end; default 45s

	// EnvRestartDrain is a Go duration: how long connections may go on once another process has taken over (EnvTakeover); default that of EnvDrainDuration.
	EnvRestartDrain = "HEDDLE_RESTART_DRAIN_DURATION"
	// EnvNativeSidecar is "true" where the proxy is an init container with restartPolicy Always: the kubelet then ends it after the
	// application, and SIGTERM means that the application has gone. "false": an ordinary container, which gets SIGTERM together with
	// the application, keeps outbound working until that has ended (as MethodAwaitCompletion says) or the drain duration is over,
	// and, in a pod whose restartPolicy is not Always, ends once the pod's other containers have (see EnvAwaitCompletion).
	EnvNativeSidecar = "HEDDLE_NATIVE_SIDECAR"
	// EnvDNSCapture is "true" where the proxy answers its pod's DNS questions on PortDNS, to where FlagDNS leads them; default false. The names of
	// both are Istio's, as in meshConfig.defaultConfig.proxyMetadata.
	EnvDNSCapture = "ISTIO_META_DNS_CAPTURE"
	// EnvDNSAutoAllocate is "false" where ServiceEntries without addresses are not to be answered with those that the mesh gave them; default true.
	EnvDNSAutoAllocate = "ISTIO_META_DNS_AUTO_ALLOCATE"
	// EnvOnDemand is "true" where a sidecar asks for hosts, clusters and listeners when they are first used; default false.
	EnvOnDemand = "HEDDLE_ON_DEMAND"
	// EnvWorkloadGroup is the WorkloadGroup that a machine registers itself by, in the namespace EnvPodNamespace. Then EnvPodName is not read.
	EnvWorkloadGroup = "HEDDLE_WORKLOAD_GROUP"
	// EnvAwaitCompletion is "true" in an ordinary container of a pod that is meant to end (restartPolicy Never or OnFailure): the proxy
	// calls MethodAwaitCompletion on the CA address and exits 0 when it returns.
	EnvAwaitCompletion = "HEDDLE_AWAIT_COMPLETION"
	// EnvTerminationGrace is the pod's terminationGracePeriodSeconds, decimal: the most that draining may take.
	EnvTerminationGrace = "HEDDLE_TERMINATION_GRACE_SECONDS"
	// EnvMemoryLimit is how many bytes the container may use, decimal: Go's memory limit becomes MemoryTarget percent of them. Where GOMEMLIMIT is set it is
	// not read; default what the process's control group may use, where that has a limit.
	EnvMemoryLimit = "HEDDLE_MEMORY_LIMIT"
	// EnvAppProbes is a JSON object: request path on PortStatus (/app-health/..., /app-lifecycle/...) to AppProbe.
	EnvAppProbes = "HEDDLE_APP_PROBES"
	// EnvAppPrometheus is a JSON AppPrometheus: where the application's own metrics are, to be merged on PortStatus.
	EnvAppPrometheus = "HEDDLE_APP_PROMETHEUS"
	// EnvWorkloadName is the name of the workload that owns the pod (a Deployment's, not its ReplicaSet's).
	EnvWorkloadName = "HEDDLE_WORKLOAD_NAME"
)

// MemoryTarget is how much of its container's memory, in percent, Go's runtime aims to stay below: the rest is for what that does not count.
const MemoryTarget = 90

// MethodAwaitCompletion is a unary gRPC method beside the CA: google.protobuf.Empty in and out, authorised as CreateCertificate
// is. It returns OK once every container of the caller's pod but the proxy has ended for good (in a pod that is being deleted: has ended), and otherwise lasts until the
// caller gives up; on any error the caller asks again later.
const (
	ServiceCompletion     = "heddle.injector.v1.Completion"
	MethodAwaitCompletion = "/" + ServiceCompletion + "/Await"
)

// StartupSeconds is how long a proxy may take to become ready: its startup probe gives up then, and so does CommandWait.
const StartupSeconds = 600

// Paths on PortStatus that stand for what the kubelet would have asked the application.
const (
	PathAppHealth    = "/app-health/"    // + container + /livez | /readyz | /startupz
	PathAppLifecycle = "/app-lifecycle/" // + a token that only the pod's spec shows + / + container + /prestopz | /poststartz
	PathPrometheus   = "/stats/prometheus"
	PathReady        = "/healthz/ready"
	PathQuit         = "/quitquitquit" // POST, from the pod itself only
)

// AppProbe is a probe or a lifecycle hook that was taken over from the kubelet: exactly one of HTTPGet, TCPSocket and GRPC is set.
type AppProbe struct {
	HTTPGet        *AppHTTPProbe `json:"httpGet,omitempty"`
	TCPSocket      *AppTCPProbe  `json:"tcpSocket,omitempty"`
	GRPC           *AppGRPCProbe `json:"grpc,omitempty"`
	TimeoutSeconds int32         `json:"timeoutSeconds,omitempty"` // 0: 1 second for probes; hooks have no limit of their own
}

// AppHTTPProbe asks the application over HTTP at the pod's address.
type AppHTTPProbe struct {
	Host    string      `json:"host,omitempty"` // empty: the pod's address
	Port    int32       `json:"port"`
	Scheme  string      `json:"scheme,omitempty"` // HTTP (also when empty) | HTTPS, whose certificate is not checked
	Path    string      `json:"path,omitempty"`   // empty: /
	Headers []AppHeader `json:"headers,omitempty"`
}

// AppHeader is one header of an AppHTTPProbe; the name Host sets the authority.
type AppHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// AppTCPProbe succeeds when a connection opens.
type AppTCPProbe struct {
	Host string `json:"host,omitempty"` // empty: the pod's address
	Port int32  `json:"port"`
}

// AppGRPCProbe asks grpc.health.v1.Health/Check in the clear.
type AppGRPCProbe struct {
	Port    int32  `json:"port"`
	Service string `json:"service,omitempty"`
}

// AppPrometheus says where the application serves its own metrics.
type AppPrometheus struct {
	Port int32  `json:"port"`
	Path string `json:"path"`
}

// Capture, as flags of "heddle-proxy redirect": comma-separated port lists, "*" for all; comma-separated CIDRs, "*" for all.
const (
	FlagInboundPorts        = "inbound-ports"         // default *
	FlagExcludeInbound      = "exclude-inbound-ports" // beside 15090, 15021 and 15020
	FlagOutboundCIDRs       = "outbound-cidrs"        // default *
	FlagExcludeCIDRs        = "exclude-outbound-cidrs"
	FlagOutboundPorts       = "outbound-ports" // captured whatever their address
	FlagExcludeOutbound     = "exclude-outbound-ports"
	FlagExcludeInterfaces   = "exclude-interfaces"
	FlagDNS                 = "dns" // whose port 53 leads to PortDNS: addresses, * for all, DNSPod for the pod's own servers; default none
	DNSPod                  = "pod"
	CommandRedirect         = "redirect" // heddle-proxy redirect <flags>: writes the capture rules and exits
	CommandWait             = "wait"     // heddle-proxy wait: returns 0 once 127.0.0.1:15021/healthz/ready says 200, 1 after --timeout (default StartupSeconds)
	CommandDrain            = "drain"    // heddle-proxy drain: POST 127.0.0.1:15000/drain; returns 0 once the proxy has begun to drain
	CommandSidecar          = "sidecar"  // heddle-proxy sidecar
	CommandGateway          = "gateway"  // heddle-proxy gateway
	CommandAgent            = "agent"    // heddle-proxy agent <flags>: keeps a certificate in files for a proxy that is not ours
	CommandMachine          = "machine"  // heddle-proxy machine --dir DIR: a sidecar on a machine outside of the cluster, as the files of DIR say
	PathSockets             = "/sockets" // GET, on PortAdmin: the addresses that programs of the pod listen on
	PathAdminDrain          = "/drain"   // POST, on PortAdmin
	ProxyBinary             = "/heddle-proxy"
	AnnotationNativeSidecar = "sidecar.heddle.io/nativeSidecar"
)

// ProxyEnvironment reports whether people may set a variable of a proxy's environment, in proxyMetadata or a ProxyConfig: those of DNS and of discovery on demand, and
// those that Go's runtime, gRPC and the certificates of the system have.
func ProxyEnvironment(name string) bool {
	switch name {
	case EnvDNSCapture, EnvDNSAutoAllocate, EnvOnDemand, "GODEBUG", "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR":
		return true
	}
	return strings.HasPrefix(name, "GRPC_GO_")
}

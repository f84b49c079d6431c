package model

// DestinationRule is what a client does when it sends to a host. Short names are resolved, same-host rules of a namespace merged,
// and every policy is complete: mesh defaults, destination level, subset and port level were already laid over each other.
type DestinationRule struct {
	From   []Name
	Parts  []RulePart // what each of From brought, where they are several
	Host   string     // FQDN, "*suffix" or "*"
	Export Visibility
	// Clients are those, of all to whom it is exported, who obey the rule: the others may have one that it was merged into.
	Clients RuleClients
	// Selector limits the rule to client workloads of its own namespace. Nil: all.
	Selector Selector
	Default  PolicySet
	Subsets  []*Subset
	// SparesServices: sidecars do not obey the rule for Services of other namespaces.
	SparesServices bool
}

// RuleClients are the clients that obey a rule.
type RuleClients string

// The clients that obey a rule.
const (
	AllClients   RuleClients = ""
	OwnClients   RuleClients = "own"    // of the rule's own namespace
	OtherClients RuleClients = "others" // of other namespaces
	NoClients    RuleClients = "none"   // other rules for the host come first
)

// AtHome reports whether clients of the rule's own namespace obey it. Those of the root namespace obey what is for them alone; the rest is everybody's there.
func (d *DestinationRule) AtHome(namespace, root string) bool {
	return (d.Clients == AllClients || d.Clients == OwnClients) && d.Export.To(namespace) && (namespace != root || d.Export.Only(namespace))
}

// Abroad reports whether clients look for the rule in its namespace, wherever they are.
func (d *DestinationRule) Abroad(namespace string) bool {
	return (d.Clients == AllClients || d.Clients == OtherClients) && !d.Export.Only(namespace)
}

// RulePart is what one object brought into a merged rule.
type RulePart struct {
	From    Name
	Policy  bool // the policy of the host
	Subsets []string
}

// Brought is what each of From brought.
func (d *DestinationRule) Brought() []RulePart {
	if len(d.Parts) > 0 {
		return d.Parts
	}
	one := RulePart{From: d.From[0], Policy: d.Default.All != nil || d.Default.Ports != nil}
	for _, s := range d.Subsets {
		one.Subsets = append(one.Subsets, s.Name)
	}
	return []RulePart{one}
}

// Subset is a named part of a service's endpoints.
type Subset struct {
	Name   string
	Labels Selector
	Policy PolicySet
}

// PolicySet is a policy and its port-level replacements.
type PolicySet struct {
	All   *TrafficPolicy
	Ports map[uint16]*TrafficPolicy
}

// For returns the policy in force on a port.
func (p PolicySet) For(port uint16) *TrafficPolicy {
	if q, ok := p.Ports[port]; ok {
		return q
	}
	return p.All
}

// TrafficPolicy is how connections to a destination are made and spread. The zero value is the default of each field.
type TrafficPolicy struct {
	LoadBalancer   LoadBalancer
	ConnectionPool ConnectionPool
	Outlier        *OutlierDetection // nil: off
	TLS            *ClientTLS        // nil: automatic
	ProxyProtocol  ProxyProtocol
	Tunnel         Tunnel
}

// Tunnel leads relayed connections on through endpoints that are HTTP proxies. The zero Tunnel: endpoints are where they lead.
type Tunnel struct {
	Host string // a name or an address
	Port uint16
	Post bool // by POST, not CONNECT
}

// ProxyProtocol is how connections tell whose they are before anything else.
type ProxyProtocol uint8

// The versions of the PROXY protocol.
const (
	NoProxyProtocol ProxyProtocol = iota
	ProxyProtocolV1
	ProxyProtocolV2
)

// Balancer is a load balancing algorithm.
type Balancer uint8

// The algorithms. LeastRequest is the default.
const (
	LeastRequest Balancer = iota
	RoundRobin
	Random
	Passthrough
	RingHash
	Maglev
)

// LoadBalancer chooses an endpoint.
type LoadBalancer struct {
	Algorithm Balancer
	TableSize uint64          // RingHash: the least number of places; Maglev: their number, a prime
	Warmup    *Warmup         // of RoundRobin and LeastRequest; nil: none
	Hash      *HashKey        // what of a request RingHash and Maglev choose by; nil: nothing, at random
	Locality  *LocalityPolicy // nil: the service's or the mesh's
}

// Warmup has new endpoints take on their part of the traffic by and by.
type Warmup struct {
	Duration       Duration
	MinimumPercent float64 // of its weight that an endpoint has at least
	Aggression     float64 // 1: linear; more: faster in the beginning
}

// HashKey is what requests to one endpoint have in common. One field is set.
type HashKey struct {
	Header   string
	Query    string // name of a query parameter
	SourceIP bool
	Cookie   *HashCookie
}

// HashCookie is a cookie that keeps a client at one endpoint.
type HashCookie struct {
	Name, Path string
	TTL        *Duration // nil: clients without the cookie are given none; 0: for their session
	Attributes []CookieAttribute
}

// CookieAttribute is a further attribute of a cookie; its value may be empty.
type CookieAttribute struct{ Name, Value string }

// ConnectionPool is limits and timeouts; zero means the default (unlimited, or as Envoy's).
type ConnectionPool struct {
	MaxConnections           uint32
	ConnectTimeout           Duration // 0: the mesh's (10 s)
	TCPIdleTimeout           *Duration
	MaxConnectionDuration    Duration   // 0: any
	Keepalive                *Keepalive // nil: the mesh's
	MaxPendingRequests       uint32
	MaxRequests              uint32
	MaxRequestsPerConnection uint32
	MaxRetries               uint32
	HTTPIdleTimeout          *Duration
	MaxConcurrentStreams     uint32
	PingInterval             Duration // of HTTP/2; 0: none
	PingTimeout              Duration
	UpgradeHTTP2             bool // h2UpgradePolicy UPGRADE
	KeepHTTP1                bool // h2UpgradePolicy DO_NOT_UPGRADE, whatever the mesh says
	UseClientProtocol        bool
	RetryBudgetPercent       *float64
	RetryBudgetMinimum       uint32
	RetryBudgetInterval      Duration // 0: the active requests count, not those that began in it
}

// OutlierDetection ejects endpoints that fail. Defaults are applied.
type OutlierDetection struct {
	Consecutive5xx         uint32 // 0: off
	ConsecutiveGateway     uint32 // 0: off
	SplitLocalOrigin       bool
	ConsecutiveLocalOrigin uint32
	Interval               Duration
	BaseEjection           Duration
	MaxEjectionPercent     uint32
	MinHealthPercent       uint32
	ErrorCodes             []uint32 // statuses that are errors, in order; nil: 5xx
}

// TLSMode is how a client secures its connection.
type TLSMode uint8

// The modes of DestinationRule tls.
const (
	TLSDisable TLSMode = iota
	TLSSimple
	TLSMutual
	TLSIstioMutual
	TLSRefused // a rule that is not understood asks for TLS: nobody is reached
)

// ClientTLS is a DestinationRule's tls block.
type ClientTLS struct {
	Mode           TLSMode
	CredentialName string // Secret; gateways of the rule's namespace, or rules with a workload selector
	// CACertificates is a file ("system" for the system's roots); ClientCertificate and PrivateKey are files (MUTUAL).
	CACertificates     string
	CRL                string // file of what those authorities revoked, PEM; "": none
	ClientCertificate  string
	PrivateKey         string
	SNI                string
	SANs               []string
	InsecureSkipVerify bool
}

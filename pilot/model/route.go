package model

// MeshGateway is the reserved gateway name that means every sidecar.
const MeshGateway = "mesh"

// VirtualService is routing rules for hosts. Names are resolved and delegates are merged in.
type VirtualService struct {
	From   Name
	Hosts  []string // FQDN, "*suffix" or "*"
	Export Visibility
	// Gateways: MeshGateway or namespace/name.
	Gateways []string
	HTTP     []*HTTPRoute
	TLS      []*TLSRoute
	TCP      []*TCPRoute
	// Entire hosts are served where a gateway's server has all of them, and never for the part that it has: Ingresses have rules for that part.
	Entire bool
}

// Rank orders VirtualServices before their age does, in the eyes of clients in a namespace: 0 where one is their namespace's own and not everybody's, 1
// where it is exported to them, 2 where it is everybody's.
func (v *VirtualService) Rank(client string) int {
	switch {
	case v.Export.Public:
		return 2
	case v.From.Namespace != client:
		return 1
	}
	return 0
}

// Source limits a rule to client workloads; it is applied when configuration is made, and only to sidecars.
type Source struct {
	Labels    Selector
	Namespace string
}

// HTTPRoute is one rule. No Matches: it matches everything.
type HTTPRoute struct {
	Name    string // as logged: "route" or "route.match"
	Matches []*HTTPMatch
	// Exactly one of Destinations, Redirect, Direct is set.
	Destinations []*Destination
	Redirect     *Redirect
	Direct       *DirectResponse

	Rewrite *Rewrite
	Timeout *Duration // nil or 0: none
	Retry   *Retry    // nil: the mesh's; Attempts 0: off
	Fault   *Fault
	Mirrors []*Mirror
	CORS    *CORS
	Headers Headers
	// Origin is where the rule is written, where the VirtualService has rules of delegates. Nil: in itself, at the same place.
	Origin *RuleOrigin
}

// RuleOrigin is a place in an object's list of http rules.
type RuleOrigin struct {
	From  Name
	Index int
}

// HTTPMatch is one block: every set field must match.
type HTTPMatch struct {
	Name      string
	Path      *StringMatch
	Method    *StringMatch
	Scheme    *StringMatch
	Authority *StringMatch
	Headers   []KeyMatch // sorted by key
	Query     []KeyMatch // sorted by key
	Port      uint16     // 0: any
	Source    Source
	Gateways  []string // overrides the VirtualService's; nil: not given
	// StatPrefix is by which Envoys count what the match takes; "": they do not.
	StatPrefix string
}

// Destination is one weighted target.
type Destination struct {
	Host    string // FQDN
	Subset  string
	Port    uint16 // 0: the service's single port, or the listener's
	Weight  uint32
	Headers Headers
}

// HeaderOp names a header and its value, which may hold Envoy's formatters.
type HeaderOp struct{ Key, Value string }

// Headers are the operations on one side's headers, sorted by key.
type Headers struct {
	RequestSet, RequestAdd   []HeaderOp
	RequestRemove            []string
	ResponseSet, ResponseAdd []HeaderOp
	ResponseRemove           []string
	// Host replaces the authority ("host" or ":authority" in set).
	Host string
}

// Redirect answers with another location.
type Redirect struct {
	Code       uint32 // 301 302 303 307 308
	Scheme     string
	Host       string
	Path       string // whole path
	PathPrefix string // replaces the matched prefix
	HasPrefix  bool
	Port       uint16
	DerivePort DerivePort
}

// DerivePort is HTTPRedirect.derivePort.
type DerivePort uint8

// The ways to derive a redirect's port.
const (
	PortFromProtocol DerivePort = iota
	PortFromRequest
)

// DirectResponse answers at once.
type DirectResponse struct {
	Status uint32
	Body   []byte
}

// Rewrite changes the request before it goes on.
type Rewrite struct {
	URI       string // replaces the matched prefix or, without one, the path
	HasURI    bool
	Authority string
	Regex     string // uriRegexRewrite
	Replace   string
}

// Retry is a retry policy.
type Retry struct {
	Attempts            uint32 // retries after the first try; 0: off
	PerTry              Duration
	On                  []string // conditions, sorted out of retryOn
	Codes               []uint32 // status codes in retryOn
	RemoteLocalities    bool
	IgnorePreviousHosts bool
	IgnorePreviousGiven bool     // by the user; otherwise retries stay where consistent hashing sends them
	Backoff             Duration // 0: 25 ms
}

// Fault injects failures. Percentages are 0..100.
type Fault struct {
	Delay        Duration
	DelayPercent float64
	AbortHTTP    uint32
	AbortGRPC    *uint32
	AbortPercent float64
}

// Mirror copies requests. Percent is 0..100.
type Mirror struct {
	Destination Destination
	Percent     float64
}

// CORS is a cross-origin policy.
type CORS struct {
	AllowOrigins     []StringMatch
	AllowMethods     []string
	AllowHeaders     []string
	ExposeHeaders    []string
	MaxAge           *Duration
	AllowCredentials *bool
	// ForwardUnmatched is unmatchedPreflights FORWARD, the default.
	ForwardUnmatched bool
}

// TLSRoute routes opaque TLS by SNI.
type TLSRoute struct {
	Matches      []*L4Match // at least one, each with SNI
	Destinations []*Destination
}

// TCPRoute routes connections.
type TCPRoute struct {
	Matches      []*L4Match // none: all
	Destinations []*Destination
}

// L4Match is one block of a TCP or TLS rule.
type L4Match struct {
	SNI      []string
	Subnets  []string // destination CIDRs
	Port     uint16
	Source   Source
	Gateways []string
}

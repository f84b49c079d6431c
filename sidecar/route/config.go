// Package route is match tables: which route a request takes, and what the route says. Tables are built when
// configuration arrives and never change; matching allocates nothing. It must not know clusters' state, codecs or
// protobuf messages.
package route

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
)

// Config describes a table: an RDS resource, or a listener's inline one.
type Config struct {
	Name         string
	VirtualHosts []VirtualHostConfig
	IgnorePort   bool // of the authority, when matching domains
	OnDemand     bool // the virtual hosts are for hosts that the control plane, asked for each, does not have
	Request      headers.Config
	Response     headers.Config
}

// VirtualHostConfig describes a virtual host.
type VirtualHostConfig struct {
	Name         string
	Domains      []string // exact, "*.suffix", "prefix.*" or "*"; ASCII case is ignored
	Routes       []RouteConfig
	RequireTLS   bool // answer plaintext with a 301 to https
	AttemptCount bool // x-envoy-attempt-count to the upstream
	Request      headers.Config
	Response     headers.Config
	Retry        *Retry // for routes without one
	Overrides    []filter.Override
}

// RouteConfig describes a route. Exactly one of Clusters, Redirect and Direct is set.
type RouteConfig struct {
	Name      string
	Origin    Origin
	Operation string // what spans call it; empty: they choose
	Match     Match
	Clusters  []Weighted // one for a plain cluster action; weights are then ignored
	Missing   int        // status where the chosen cluster is not configured; 0: 503
	Redirect  *Redirect
	Direct    *Direct
	Rewrite   Rewrite
	Timeout   time.Duration  // of the whole request; 0: none
	GRPC      *GRPCTimeout   // nil: grpc-timeout means nothing
	Idle      *time.Duration // of the stream (0: none); nil: the listener's
	MaxStream *time.Duration // of a request with its response (0: any); nil: the listener's
	Retry     *Retry         // nil: the virtual host's
	Mirrors   []Mirror
	Hash      []HashPolicy // for clusters with a hashing balancer
	Request   headers.Config
	Response  headers.Config
	Overrides []filter.Override
	Upgrades  []UpgradeRule // over the listener's
}

// Origin is the user's rule that a route was made of; zero where none was. It is for people and decides nothing.
type Origin struct {
	Object string // path of the object in its API: /apis/networking.istio.io/v1/namespaces/shop/virtual-service/catalog
	Rule   string // "http[1].match[0]"
}

// GRPCTimeout is what a request's grpc-timeout means: it takes the place of the route's timeout for calls, else of MaxStream.
type GRPCTimeout struct {
	Max    time.Duration // at most this; 0: any
	Offset time.Duration // the limit here is so much less than what the request says
	Calls  bool          // gRPC alone, and calls that say none have Max: Envoy's max_grpc_timeout; else whoever says one
}

// UpgradeRule switches one upgrade ("websocket", "CONNECT") on or off.
type UpgradeRule struct {
	Type    string
	Enabled bool
}

// PathKind says how Match.Path is compared with the path without its query.
type PathKind uint8

// The kinds of path match.
const (
	Prefix PathKind = iota // raw: /foo matches /foobar
	Exact
	SegmentPrefix   // /foo matches /foo and /foo/bar, not /foobar
	Regex           // RE2, the whole path
	ConnectRequests // CONNECT requests, whatever the path
)

// Match is a conjunction.
type Match struct {
	Path       string
	PathKind   PathKind
	IgnoreCase bool // not with Regex
	Headers    []HeaderMatch
	Query      []QueryMatch
	GRPC       bool // only gRPC requests
	// Fraction of 1,000,000 requests that may match; nil: all.
	Fraction *uint32
}

// StringKind says how a StringMatch compares.
type StringKind uint8

// The kinds of string match.
const (
	StringExact StringKind = iota
	StringPrefix
	StringSuffix
	StringContains
	StringRegex // RE2, the whole value
	StringPresent
)

// StringMatch compares one value.
type StringMatch struct {
	Kind       StringKind
	Value      string
	IgnoreCase bool // not with StringRegex
}

// HeaderMatch compares a header's value (several lines joined by commas). Name is lower case; ":method", ":authority",
// ":scheme" and ":path" are understood.
type HeaderMatch struct {
	Name           string
	Match          StringMatch
	Invert         bool
	MissingAsEmpty bool
	Absent         bool // with StringPresent: the header must not be there
}

// QueryMatch compares a query parameter's first value.
type QueryMatch struct {
	Name  string
	Match StringMatch
}

// Weighted is one of a route's clusters.
type Weighted struct {
	Cluster   string
	Weight    uint32
	Request   headers.Config
	Response  headers.Config
	Rewrite   string // authority; empty: the route's
	Overrides []filter.Override
}

// Redirect answers with a location.
type Redirect struct {
	Status     int    // 301, 302, 303, 307, 308; 0: 301
	Scheme     string // empty: the request's
	Host       string // empty: the request's
	Port       uint32 // 0: none, implied by the scheme
	Path       string // replaces the path and, where it has one, the query
	Prefix     *string
	Regex      *RegexRewrite
	StripQuery bool
}

// Direct answers with a body of our own.
type Direct struct {
	Status int
	Body   []byte
	Type   string // content-type; empty: text/plain
}

// RegexRewrite replaces every match of an RE2 pattern; \1 to \9 name groups.
type RegexRewrite struct {
	Pattern, Substitution string
}

// Rewrite changes the request on its way out. x-envoy-original-path keeps the old path.
type Rewrite struct {
	Prefix   *string // replaces the matched prefix (or the whole path of an exact or regex match)
	Regex    *RegexRewrite
	Host     string
	AutoHost bool // the upstream endpoint's DNS name
	TellHost bool // x-forwarded-host gets the old host
}

// Mirror sends a copy of requests elsewhere and forgets the answer.
type Mirror struct {
	Cluster  string
	Fraction uint32 // of 1,000,000
	Host     string // authority of the copy; empty: unchanged
	Shadow   bool   // "-shadow" is put after the authority's name
}

// RetryOn is a set of conditions.
type RetryOn uint32

// The conditions; names as in Envoy's x-envoy-retry-on and x-envoy-retry-grpc-on.
const (
	On5xx RetryOn = 1 << iota
	OnGatewayError
	OnReset
	OnResetBeforeRequest
	OnConnectFailure
	OnRefusedStream
	OnRetriable4xx
	OnRetriableStatusCodes
	OnGRPCCancelled
	OnGRPCDeadlineExceeded
	OnGRPCInternal
	OnGRPCResourceExhausted
	OnGRPCUnavailable
	OnEnvoyRatelimited
	OnHTTP3PostConnectFailure // never happens: there is no HTTP/3
	OnRetriableHeaders        // a response field that Retry.Fields match, or that the request names in x-envoy-retriable-header-names
)

// Retry is a retry policy. It never changes.
type Retry struct {
	On            RetryOn
	Codes         []int   // for OnRetriableStatusCodes
	Fields        Headers // of responses, for OnRetriableHeaders
	Only          Headers // of requests: none other is sent again; empty: any may be
	Attempts      int     // retries, not counting the first try
	PerTry        time.Duration
	PerTryIdle    time.Duration // from the end of the request on, while nothing comes from the upstream; 0: any
	Base, Max     time.Duration // back-off; 0: 25 ms, ten times Base
	OtherHost     bool          // prefer hosts not tried yet
	HostPicks     int           // how often to choose again for one; 0: once
	PriorityEvery int           // leave the priorities of hosts alone that were tried, after every so many tries (previous_priorities); 0: never
}

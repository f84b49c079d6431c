// Package config is the runtime configuration: immutable, plain Go, swapped as a whole. compile makes it, everything on
// the hot path reads it without locks. It must not import protobuf messages, codecs or telemetry.
package config

import (
	"cmp"
	"context"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/dns/names"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// Config is everything a proxy does. compile builds the next one from the last one and what changed; unchanged parts keep
// their pointers. Nobody writes into it once it is stored.
type Config struct {
	Version   string // for dumps
	Listeners []*Listener
	Clusters  map[string]*upstream.Config     // by name
	Endpoints map[string]*upstream.Assignment // by EDS name
	Routes    map[string]*route.Table         // by RDS name
	Names     *names.Table                    // what the pod's DNS questions are answered with; nil: nothing
	// Settled are the addresses for which the control plane was asked, and all that it has is in force. Nil: listeners are not on demand.
	Settled map[netip.AddrPort]bool
}

// Demands asks the control plane for what a proxy has on demand. To ask again is to remind. False: too many questions are open.
type Demands interface {
	// Host asks for the virtual host that a route table has for a host.
	Host(table, host string) bool
	// Address asks for the listeners that connections to an address may be handed to.
	Address(netip.AddrPort) bool
}

// Hold is how long a request or a connection waits at most for what was asked for: as long as Envoy's OnDemandCds.timeout.
const Hold = 5 * time.Second

// Listener is where connections arrive.
type Listener struct {
	Name           string
	Binds          []netip.AddrPort // the first is the main one; others are additional addresses
	Path           string           // Unix domain socket, instead of Binds
	NoBind         bool             // bind_to_port false: reached only by hand-off
	UseOriginalDst bool             // hand connections off to the listener of their original destination
	RestoreDst     bool             // learn the original destination (original_dst listener filter, or UseOriginalDst)
	Capture        bool             // a capture port: direct connections of other pods are refused
	Via            *exchange.Via
	Proxied        Proxied // who connects is a proxy that says for whom
	Inspect        Inspect
	Chains         []*FilterChain
	Default        *FilterChain // nil: close
	MaxConnections int          // accepted here; 0: what the process allows
}

// Proxied says whether connections begin with the PROXY protocol's header.
type Proxied uint8

// The choices.
const (
	NotProxied   Proxied = iota
	Proxies              // all do
	MayBeProxied         // some do: clients that connect themselves are served too
)

// Inspect says for which destination ports first bytes are looked at before a chain is chosen.
type Inspect struct {
	TLS, HTTP       bool
	TLSOff, HTTPOff Ports         // filter_disabled
	Timeout         time.Duration // 0: none
	ContinueOnTime  bool          // at the timeout choose with what is known; else close
}

// Ports is a set of ports, as half-open ranges.
type Ports []PortRange

// PortRange is [From, To).
type PortRange struct{ From, To uint32 }

// Has says whether p is in the set.
func (ps Ports) Has(p uint16) bool {
	for _, r := range ps {
		if uint32(p) >= r.From && uint32(p) < r.To {
			return true
		}
	}
	return false
}

// Others are the ports that are not in the set, in order.
func (ps Ports) Others() Ports {
	sorted := slices.SortedFunc(slices.Values(ps), func(a, b PortRange) int { return cmp.Compare(a.From, b.From) })
	out, at := Ports{}, uint32(0)
	for _, r := range sorted {
		if r.From > at {
			out = append(out, PortRange{at, r.From})
		}
		at = max(at, r.To)
	}
	if at <= math.MaxUint16 {
		out = append(out, PortRange{at, math.MaxUint16 + 1})
	}
	return out
}

// FilterChain is what a listener does with connections that match. Exactly one of HTTP and TCP is set.
type FilterChain struct {
	Name   string
	Origin route.Origin
	Match  Match
	TLS    ServerTLS // nil: plaintext
	// Handshake bounds a client's; 0: 15 s.
	Handshake time.Duration
	Network   []filter.Network
	HTTP      *HTTP
	TCP       *TCP
}

// Match is a filter chain's condition, judged in Envoy's fixed order with the most specific first and no backtracking.
type Match struct {
	Port        uint16         // 0: any
	Prefixes    []netip.Prefix // of the destination; none: any
	ServerNames []string       // exact or "*.suffix"; none: any
	Transport   string         // "tls", "raw_buffer" or empty
	ALPN        []string       // any of them offered; none: any
	SourceIPs   []netip.Prefix // of the peer; none: any
}

// ServerTLS accepts handshakes. sidecar/mtls implements it.
type ServerTLS interface {
	// Server handshakes as the server on raw. An error closes the connection.
	Server(ctx context.Context, raw net.Conn) (net.Conn, *exchange.Security, error)
	// Accepts says whether a connection that another setting has let in shows as much of its client as this one demands.
	Accepts(*exchange.Security) bool
}

// TCP relays bytes.
type TCP struct {
	StatPrefix  string
	Clusters    []route.Weighted // only Cluster and Weight count
	IdleTimeout time.Duration    // 0: none
	MaxDuration time.Duration    // 0: none
	// HashSourceIP has hashing balancers choose by the client's address.
	HashSourceIP bool
	// NamePort is the port at which a cluster that goes by names looks for the one in the ClientHello; 0: it says so itself.
	NamePort uint16
	Tunnel   *Tunnel // nil: the upstream is no proxy, but the destination
}

// Name is what a cluster that goes by names is asked for: the name in a ClientHello, with the port that the chain says, if any.
func (t *TCP) Name(sni string) string {
	if sni == "" || t.NamePort == 0 {
		return sni
	}
	return net.JoinHostPort(sni, strconv.Itoa(int(t.NamePort)))
}

// Tunnel leads through an upstream that is an HTTP proxy.
type Tunnel struct {
	Authority string // where to, host:port
	Post      string // the path to POST to; empty: CONNECT
}

// ForwardCert says what happens to x-forwarded-client-cert.
type ForwardCert uint8

// The modes, as Envoy's forward_client_cert_details.
const (
	Sanitize ForwardCert = iota
	ForwardOnly
	AppendForward
	SanitizeSet
	AlwaysForwardOnly
)

// HTTP is a listener's HTTP behaviour (Envoy's HttpConnectionManager).
type HTTP struct {
	StatPrefix string
	RouteName  string       // RDS; looked up in Config.Routes
	Routes     *route.Table // inline, where RouteName is empty
	Filters    []filter.Named

	ServerName       string // the server header; empty: "envoy"
	KeepServer       bool   // PASS_THROUGH: leave the upstream's server header alone
	UseRemoteAddress bool   // an edge: the peer's address is the client's; x-envoy-* of others is removed
	TrustedHops      uint32
	Internal         []netip.Prefix // whose x-envoy-* and x-request-id an edge keeps, where no proxy is before them
	ForwardCert      ForwardCert
	CertSubject      bool
	CertURI          bool
	CertDNS          bool
	CertPEM          bool
	TellPort         bool // at an edge, x-forwarded-port is the one that the client has connected to
	NormalizePath    bool
	MergeSlashes     bool
	EscapedSlashes   EscapedSlashes
	Upgrades         []route.UpgradeRule // "websocket", "CONNECT"
	Quiet            bool                // forwarding adds no x-envoy-* of its own but the number of the try
	RequestID        bool                // generate x-request-id where missing
	KeepRequestID    bool                // an edge keeps a foreign one
	IdleTimeout      time.Duration       // of the connection; 0: 1 h
	StreamIdle       time.Duration       // 0: none
	HeadTimeout      time.Duration       // to receive a whole head; 0: none
	RequestTimeout   time.Duration       // to receive a whole request, unless its response begins before; 0: none
	MaxStream        time.Duration       // of a request with its response, where its route does not say; 0: any
	MaxConnection    time.Duration       // of the connection, after which its client is told to go; 0: any
	DrainTimeout     time.Duration       // after that, what is idle ends
	HTTP10           bool                // accept HTTP/1.0
	MaxHead          int                 // bytes; 0: 60 KiB
	MaxHeaders       int                 // 0: 100
	MaxStreams       uint32
	StripMesh        bool // remove x-envoy-peer-metadata* and other mesh headers towards external clusters
}

// EscapedSlashes says what happens to %2F and %5C in paths.
type EscapedSlashes uint8

// The actions.
const (
	SlashesKeep EscapedSlashes = iota
	SlashesReject
	SlashesUnescapeRedirect // 307 to where they are none; 400 to gRPC clients
	SlashesUnescapeForward
)

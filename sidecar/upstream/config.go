// Package upstream is clusters that live: balancers, pools, outlier detection, limits. What it keeps is keyed by cluster
// name and endpoint address and survives configuration changes. It knows no protocol (it pools exchange.Transports) and
// must not import protobuf messages, routes or codecs.
package upstream

import (
	"context"
	"math"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/check"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
	"github.com/heddle-mesh/heddle/sidecar/upstream/lookup"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// Discovery says where a cluster's endpoints come from.
type Discovery uint8

// The kinds of discovery.
const (
	EDS         Discovery = iota // Registry.Apply's assignments, by Config.Assignment
	Static                       // Config.Endpoints
	OriginalDst                  // the connection's own destination
	StrictDNS                    // Config.Endpoints with Host set, each resolved to all its addresses
	LogicalDNS                   // the same, but new connections go to one address at a time: the first of the answer
	Named                        // the name that a request or a ClientHello brings (Key.Name), looked up when it comes
)

// Balancer chooses among healthy endpoints.
type Balancer uint8

// The balancers.
const (
	LeastRequest Balancer = iota // two random choices, the less busy one: the default
	RoundRobin
	Random
	Passthrough // the original destination
	RingHash    // the host that follows the request's hash on a ring
	Maglev      // the host that the request's hash has in a table
)

// hashes says whether the balancer chooses by a hash of the request.
func (b Balancer) hashes() bool { return b == RingHash || b == Maglev }

// WireProtocol says what a cluster speaks.
type WireProtocol uint8

// The choices.
const (
	UseHTTP1 WireProtocol = iota
	UseHTTP2
	UseDownstream // whatever the client speaks
)

// Handshaker secures fresh connections by one TLS setting. sidecar/mtls implements it, compile makes it. Equal settings
// must keep their pointer across configurations: connections are pooled by it.
type Handshaker interface {
	// Handshake secures raw for one protocol (which decides the ALPNs to offer), accepting only identities that the
	// setting and the endpoint's facts allow. name is the server's where the request says it (Config.HostSNI), else empty.
	// Its error's text becomes %UPSTREAM_TRANSPORT_FAILURE_REASON%.
	Handshake(ctx context.Context, raw net.Conn, ep *exchange.Endpoint, name string, p exchange.Protocol) (net.Conn, *exchange.Security, error)
}

// Socket is one transport socket and the endpoints it is for: those whose Metadata contains all of Match (the key
// "tlsMode" also sees Endpoint.TLSMode). A nil TLS means plaintext.
type Socket struct {
	Name  string
	Match map[string]string
	TLS   Handshaker
	Proxy ProxyHeader // said before the handshake
}

// Limit is how many of something there may be at a time; zero means any number.
type Limit uint32

// None is the limit that lets nobody through.
const None Limit = math.MaxUint32

// admits says whether the limit lets the n-th through.
func (l Limit) admits(n int64) bool { return l == 0 || l != None && n <= int64(l) }

// String is how many the limit lets through; that of any number is "any".
func (l Limit) String() string {
	switch l {
	case 0:
		return "any"
	case None:
		return "0"
	}
	return strconv.FormatUint(uint64(l), 10)
}

// Limits are circuit breakers; zero means unlimited.
type Limits struct {
	Connections           Limit // established per cluster
	Pending               Limit // requests and TCP connections waiting for a connection, those included that dial it
	Requests              Limit // in flight, on connections
	Retries               Limit // retries in flight
	RequestsPerConnection uint32
	MaxHead, MaxHeaders   int          // of responses: bytes and fields; 0: 60 KiB and 100
	Streams               uint32       // concurrent streams per HTTP/2 connection
	Budget                *RetryBudget // replaces Retries; nil: there is none
}

// RetryBudget limits retries in flight to a share of the active requests, or to Min where that is more.
type RetryBudget struct {
	Percent  float64 // 0 to 100
	Min      uint32
	Interval time.Duration // not the active requests count, but those that began in it; 0: the active ones
}

// Config describes a cluster. It never changes; an unchanged cluster keeps its pointer.
type Config struct {
	Info           exchange.ClusterInfo
	Discovery      Discovery
	Assignment     string               // EDS name; Info.Name where empty
	Endpoints      []*exchange.Endpoint // Static and DNS
	Errors         []int                // statuses that outlier detection takes for errors; nil: 5xx
	Balancer       Balancer
	Port           uint16        // of OriginalDst: where the chosen address is dialled; 0: at the chosen port
	Hashing        hashing.Sizes // of RingHash and Maglev
	Warmup         *Warmup       // of RoundRobin and LeastRequest; nil: new hosts have their full part at once
	Protocol       WireProtocol
	ConnectTimeout time.Duration // 0: 10 s
	IdleTimeout    time.Duration // of pooled connections; 0: 1 h, negative: none
	MaxDuration    time.Duration // a pooled connection takes no new requests when it is as old as that; 0: any age
	MaxStream      time.Duration // of one try on its connection, response and all; 0: any time
	Ping           exchange.Keepalive
	Limits         Limits
	Outlier        *outlier.Config // nil: no host is ejected
	Health         *check.Config
	PinDraining    bool       // clients stay with hosts that drain
	Panic          uint32     // percent of healthy endpoints of a priority below which all are used; 0: never
	ByLocality     bool       // localities of one priority share its traffic by their weights, not by the endpoints that they have
	Sockets        []Socket   // first match wins; none: plaintext
	HostSNI        bool       // of secured connections for HTTP: the server's name is the host that the request is for, where that is no address
	Source         netip.Addr // bind to it before dialling (127.0.0.6); zero: any
	Source6        netip.Addr // the same for IPv6 upstreams
	Keepalive      net.KeepAliveConfig
	DNSRefresh     time.Duration // 0: 60 s
	DNSLasts       bool          // names are looked up again when their answers are over, where these say when, not every DNSRefresh
	DNSFamily      byte          // 0 both, '4', '6'
	PreferIPv4     bool          // of LogicalDNS: an IPv4 address is the first where there is one
	Names          lookup.Names  // of Named
	// LastResort is dialled, in plaintext, where no known endpoint accepts connections and none of them is secured; zero: nothing is.
	LastResort netip.AddrPort
}

// Dials is where a connection to an original destination goes.
func (c *Config) Dials(dst netip.AddrPort) netip.AddrPort {
	if c.Port == 0 || dst.Port() == 0 {
		return dst
	}
	return netip.AddrPortFrom(dst.Addr(), c.Port)
}

// Assignment is an EDS answer: the endpoints of one name. It never changes.
type Assignment struct {
	Name      string
	Endpoints []*exchange.Endpoint
}

// Codec makes a transport on a fresh, secured connection. http1 and http2 offer one, engine introduces them.
type Codec func(conn net.Conn, info *exchange.TransportInfo) (exchange.Transport, error)

// Resolver looks names up for DNS clusters; *net.Resolver is one. One that has LookupLasting as well, as package dns', says how long an answer lasts.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options are what a Registry needs from outside.
type Options struct {
	HTTP1, HTTP2 Codec
	Resolver     Resolver // nil: net.DefaultResolver
	// Reachable says whether names that requests bring may lead to an address; nil: every one but this machine's own, loopback and link-local.
	Reachable func(netip.Addr) bool
	// Recovered is told of panics in timers and goroutines that keep clusters alive; nil: they are not recovered.
	Recovered func(panicked any)
	// Mark is SO_MARK for upstream sockets, 0 for none.
	Mark int
}

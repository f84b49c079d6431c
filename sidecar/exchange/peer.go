package exchange

import (
	"net/netip"
	"time"
)

// Direction is the side of the workload on which a listener stands.
type Direction uint8

// The directions. A gateway's listeners are Outbound with Via.Gateway set, as in xDS.
const (
	Inbound Direction = iota + 1
	Outbound
)

// Identity is a SPIFFE identity that a handshake has verified, in parts. The zero Identity is "nobody".
type Identity struct {
	URI            string // spiffe://<trust domain>/ns/<namespace>/sa/<account>
	TrustDomain    string
	Namespace      string // empty where the path is not of that form
	ServiceAccount string
}

// Known says whether there is an identity at all.
func (i *Identity) Known() bool { return i != nil && i.URI != "" }

// Security is what a TLS handshake established. A nil *Security means plaintext. It is made once per connection and
// never changes.
type Security struct {
	Identity Identity // verified peer identity; zero where the peer showed no certificate of the mesh
	Mutual   bool     // the peer showed a certificate that was verified
	SNI      string
	ALPN     string // negotiated; empty where none
	Version  string // "TLSv1.3"
	Cipher   string
	Subject  string   // RFC 2253 subject of the peer's certificate, for XFCC and RBAC
	DNS      []string // DNS SANs of the peer's certificate, for XFCC and RBAC
	URIs     []string // its URI SANs where it has several, and so no Identity, for RBAC
	Claimed  []string // instead of these and Identity: URI SANs that are not its authority's to give; they may refuse, and grant nothing
	Hash     string   // hex SHA-256 of the peer's certificate, for XFCC
	LocalURI string   // our own certificate's URI, XFCC's By; empty where it has none
	Cert     []byte   // DER of the peer's certificate, for XFCC; only what servers say of clients
}

// Workload names who is at the other end, for telemetry. Pointers to it are compared and used as cache keys: equal
// content keeps its pointer across configuration changes wherever possible.
type Workload struct {
	Name              string
	Namespace         string
	App               string
	Version           string
	CanonicalName     string
	CanonicalRevision string
	Cluster           string
	ServiceAccount    string
	Owner             string
}

// Locality is where an endpoint runs.
type Locality struct {
	Region, Zone, SubZone string
}

// Endpoint is what is known of one address of a service: facts, no policy. It never changes.
type Endpoint struct {
	Address        netip.AddrPort
	Path           string // Unix domain socket; Address is zero then
	Host           string // DNS clusters: the name that resolved to Address
	Identity       string // SPIFFE URI that it must prove; empty where unknown
	TLSMode        string // "istio" where it serves the mesh's mutual TLS
	Weight         uint32 // at least 1
	Priority       uint32
	Locality       Locality
	LocalityWeight uint32 // of all endpoints of the locality and priority together; 0: none was given
	Unhealthy      bool
	Draining       bool
	Workload       *Workload         // nil where unknown
	Metadata       map[string]string // flat facts that transport-socket matches may name
}

// Service names the service that a cluster stands for, for telemetry; zero where there is none.
type Service struct {
	Host, Name, Namespace string
}

// ClusterInfo is what telemetry and logs may know of a cluster.
type ClusterInfo struct {
	Name     string
	Subset   string
	Service  Service
	External bool // outside the mesh: mesh headers must not reach it
}

// AccessLog is where and how to log. It never changes; telemetry compiles it once per pointer.
type AccessLog struct {
	Path   string      // "/dev/stdout"
	Text   string      // format with Envoy's operators; empty with JSON set
	JSON   [][2]string // key, format
	Filter string      // an expression of CEL that a line's request must meet; "": every one
}

// Tracing is a listener's tracing setting; nil means off.
type Tracing struct {
	Sampling uint32 // of 10,000 new traces, how many are recorded
	Edge     bool   // Sampling holds for traces that clients began, too
	MaxTag   int    // longest path tag, bytes; 0: 256
	Target   string // host:port of an OTLP gRPC receiver
	Service  string // service.name of the spans
	Tags     []SpanTag
	Silent   bool // upstreams are not told of traces
}

// SpanTag is a further attribute of spans: what Text writes, or a request's header, or else Value; "" has none.
type SpanTag struct {
	Name, Header, Value string
	Text                interface { // nil: there is none
		Append(dst []byte, x *Exchange) []byte
	}
}

// Metrics is what is counted of requests and of TCP connections. It never changes.
type Metrics struct{ HTTP, TCP []MetricGroup }

// MetricGroup is metrics that have the same labels. Bits stand for the places of telemetry's tables of metrics and labels.
type MetricGroup struct {
	Metrics uint32
	Removed uint32      // labels that are left out
	Set     LabelSetter // nil: no label has another value than its own
}

// LabelSetter makes labels of a request. It is immutable, and comparable by its address.
type LabelSetter interface {
	// Append writes the labels in the form that their recorder knows.
	Append(dst []byte, x *Exchange) []byte
}

// Via is the listener's share of what telemetry must know. It never changes.
type Via struct {
	Listener  string
	Direction Direction
	Gateway   bool
	AccessLog []*AccessLog
	Tracing   *Tracing
	Metrics   *Metrics      // nil: everything is counted
	Reporting time.Duration // how often what an open TCP connection has carried is counted; 0: every 5 s
}

// Connection is one accepted connection: its facts, and for TCP its course as well.
type Connection struct {
	ID          uint64 // unique in this process
	Via         *Via
	Start       time.Time
	Source      netip.AddrPort // who connected, by the socket or, on a listener for the PROXY protocol, by that; never taken from a request
	Proxy       netip.AddrPort // who connected by the socket, where that spoke for Source with the PROXY protocol; else zero
	Local       netip.AddrPort // the socket's own address
	Destination netip.AddrPort // where the client meant to go, before capture; Local where nothing was captured
	Called      bool           // the client connected to this proxy itself, and so meant nobody else: Destination is an address of the proxy
	Transport   string         // "tls" or "raw_buffer", as sniffed
	SNI         string         // offered, or negotiated once Security is set
	Offered     []string       // ALPNs offered by a ClientHello, or the sniffed protocol ("http/1.1", "h2c")
	Security    *Security      // nil: plaintext

	Upstream Upstream      // TCP: where it went
	Attempts int           // TCP: connections that were begun to get there
	Received int64         // TCP: bytes from the client
	Sent     int64         // TCP: bytes to the client
	Duration time.Duration // TCP: set before RecordConnection
	Outcome  Outcome
	Flags    Flag
	// OpenedFlags are the Flags of the moment when it was opened; telemetry's own.
	OpenedFlags Flag
	Details     string // overrides Outcome.Details where set
	Failure     string // why the TLS handshake failed, %DOWNSTREAM_TRANSPORT_FAILURE_REASON%
	Chain       string // name of the filter chain

	// Cut says why this proxy cut the connection, OK where it did not. Any goroutine may call it; nil: nobody cuts.
	Cut func() Outcome
}

// Direct returns who connected, by the socket.
func (c *Connection) Direct() netip.AddrPort {
	if c.Proxy.IsValid() {
		return c.Proxy
	}
	return c.Source
}

// Onward returns where the client meant to go, for clusters that follow it: without a port where it meant this proxy, which must not call itself.
func (c *Connection) Onward() netip.AddrPort {
	if c.Called {
		return netip.AddrPortFrom(c.Destination.Addr(), 0)
	}
	return c.Destination
}

// Gone says why a connection has ended that still had something to do: this proxy cut it, or the client gave up.
func (c *Connection) Gone() Outcome {
	if c.Cut != nil {
		if o := c.Cut(); o != OK {
			return o
		}
	}
	return ClientGone
}

// Peer returns the verified identity of the client, nil where there is none.
func (c *Connection) Peer() *Identity {
	if c.Security == nil || !c.Security.Mutual || c.Security.Identity.URI == "" {
		return nil
	}
	return &c.Security.Identity
}

// Verified says whether the client showed a certificate that was verified, whatever it names.
func (c *Connection) Verified() bool { return c.Security != nil && c.Security.Mutual }

// Upstream is where an exchange or a TCP connection went.
type Upstream struct {
	Cluster  *ClusterInfo // nil: none was chosen
	Endpoint *Endpoint    // nil: none was chosen
	Local    netip.AddrPort
	Security *Security // nil: plaintext
	Failure  string    // %UPSTREAM_TRANSPORT_FAILURE_REASON%
}

// Key is what tells the endpoint from others: its address and port, or its path.
func (e *Endpoint) Key() string {
	if e.Path != "" {
		return e.Path
	}
	return e.Address.String()
}

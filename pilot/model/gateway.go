package model

// Gateway says what pods chosen by Selector listen for at the edge.
type Gateway struct {
	From Name
	// Selector searches all namespaces. Empty: every gateway workload.
	Selector Selector
	Servers  []*Server
}

// ID is how VirtualServices name the gateway: namespace/name.
func (g *Gateway) ID() string { return g.From.String() }

// Server is one port of a gateway.
type Server struct {
	Name     string
	Port     uint16 // the Service port; the listener uses its target port
	PortName string
	Protocol Protocol
	Bind     string // "": wildcard
	// Hosts are the server's hosts with the namespaces that may attach.
	Hosts []GatewayHost
	TLS   *ServerTLS // nil: plaintext
	// HTTPSRedirect answers every HTTP request of the hosts with 301 to https.
	HTTPSRedirect bool
}

// GatewayHost is "namespace/dnsName".
type GatewayHost struct {
	Namespace string // "*": any; otherwise resolved ("." is the gateway's)
	Host      string // FQDN, "*suffix" or "*"
}

// ServerTLSMode is how a server terminates TLS.
type ServerTLSMode uint8

// The modes of Gateway server tls.
const (
	ServerSimple ServerTLSMode = iota
	ServerMutual
	ServerOptionalMutual
	ServerPassthrough
	ServerIstioMutual
	ServerAutoPassthrough // passed through to the service's endpoints that the SNI spells
)

// ServerTLS is a server's tls block.
type ServerTLS struct {
	Mode ServerTLSMode
	// Certificates are Secrets, of one kind of key each: "name" in the gateway's namespace, "namespace/name" in another.
	Certificates []string
	Authority    string       // Secret with the CA of clients, in itself or in its -cacert; "": clients show no certificate
	SANs         []string     // accepted client certificates
	SPKIs        []string     // likewise, by the SHA-256 of their keys, in base64; with Hashes: either will do
	Hashes       []string     // likewise, by their own SHA-256, in hex
	Files        *ServerFiles // of a Sidecar's ingress, instead of Secrets
	MinVersion   string       // "1.2" or "1.3"; "": 1.2
	MaxVersion   string       // "": 1.3
	Ciphers      []string
}

// ServerFiles are paths in the proxy's own container, of PEM.
type ServerFiles struct {
	Chain, Key string // the certificate, leaf first
	Roots      string // who vouches for clients; "": they show no certificate
	CRL        string
}

// ServerKind is what a server does with connections.
type ServerKind uint8

// The kinds of servers.
const (
	ServeHTTP        ServerKind = iota + 1 // plaintext HTTP
	ServeHTTPS                             // TLS ends here, HTTP inside
	ServeTLS                               // TLS ends here, bytes inside
	ServePassthrough                       // TLS goes on to the backend
	ServeTCP                               // plaintext bytes
	ServeNamed                             // TLS of the mesh goes on to the service that its SNI spells
)

// Kind says what the server does with connections.
func (s *Server) Kind() ServerKind {
	switch {
	case s.TLS == nil && s.Protocol.IsHTTP():
		return ServeHTTP
	case s.TLS == nil:
		return ServeTCP
	case s.TLS.Mode == ServerPassthrough:
		return ServePassthrough
	case s.TLS.Mode == ServerAutoPassthrough:
		return ServeNamed
	case s.Protocol.IsHTTP() || s.Protocol == HTTPS:
		return ServeHTTPS
	}
	return ServeTLS
}

// Family is which servers may share a port: plaintext HTTP, TLS told apart by SNI, or plaintext bytes, of which there can be one server only.
func (k ServerKind) Family() ServerKind {
	if k == ServeTLS || k == ServePassthrough || k == ServeNamed {
		return ServeHTTPS
	}
	return k
}

// Sidecar limits what a workload is told.
type Sidecar struct {
	From Name
	// Selector is of workloads of the namespace; nil: the namespace's (or, in the root namespace, the mesh's) default.
	Selector Selector
	Egress   []*EgressListener // empty: everything visible
	// RegistryOnly: nil means the mesh's.
	RegistryOnly *bool
	// EgressProxy is where traffic to destinations that nobody declared is sent; nil: there.
	EgressProxy *Destination
	Ingress     []*IngressListener
	Pool        *ConnectionPool // towards the application, on ports that have none of their own; nil: the default
}

// Names reports whether the Sidecar, which may be nil, has clients of a namespace import a host by its own name.
func (s *Sidecar) Names(client, namespace, host string) bool {
	if s == nil {
		return false
	}
	for _, l := range s.Egress {
		for _, h := range l.Hosts {
			if !h.Exclude && h.Host == host && h.in(client, namespace) {
				return true
			}
		}
	}
	return false
}

// EgressListener imports hosts. Port 0: all ports.
type EgressListener struct {
	Port uint16
	// Protocol is what clients speak on the port, whatever its services declare; Unknown: as they declare.
	Protocol Protocol
	// Bind is the one address that the listener is for; "": those of its services, or the proxy's loopback addresses where it is Direct.
	Bind string
	// Direct is whether the proxy listens there itself, for clients that connect to it rather than to the services.
	Direct bool
	Hosts  []EgressHost
}

// Apart reports whether the listener has an address of its own, whatever those of its services are.
func (l *EgressListener) Apart() bool { return l.Direct || l.Bind != "" }

// Imports reports whether the listener's hosts include, for clients of a namespace, one of another namespace, which may be a wildcard.
func (l *EgressListener) Imports(client, namespace, host string) bool {
	return l.imports(client, namespace, host, HostIncludes)
}

// ImportsRules reports whether the listener's hosts include, or are included in, one that a VirtualService of a namespace has.
func (l *EgressListener) ImportsRules(client, namespace, host string) bool {
	return l.imports(client, namespace, host, func(own, host string) bool { return HostIncludes(own, host) || HostIncludes(host, own) })
}

func (l *EgressListener) imports(client, namespace, host string, meets func(own, host string) bool) bool {
	imported := false
	for _, h := range l.Hosts {
		switch {
		case !h.in(client, namespace):
		case h.Exclude && HostIncludes(h.Host, host):
			return false
		case !h.Exclude && meets(h.Host, host):
			imported = true
		}
	}
	return imported
}

// EgressHost is "namespace/dnsName". Namespace "*" is any, "." the client's: that of the Sidecar is not, where it is the mesh's default.
type EgressHost struct {
	Namespace, Host string
	// Exclude takes hosts away ("~namespace/dnsName"), whichever entry imports them.
	Exclude bool
}

// in reports whether a namespace is meant, to clients of another.
func (h EgressHost) in(client, namespace string) bool {
	return h.Namespace == "*" || h.Namespace == namespace || h.Namespace == "." && client == namespace
}

// IngressListener replaces the inbound ports that Services imply.
type IngressListener struct {
	Port     uint16
	Protocol Protocol
	// Endpoint is defaultEndpoint: "127.0.0.1:port", "[::1]:port", "0.0.0.0:port" or "[::]:port" (the pod's own address of the family), SocketScheme and a path; "": the
	// original destination.
	Endpoint string
	// TLS ends connections of clients outside the mesh, where the port's mode is DISABLE. Nil: the port is plain.
	TLS *ServerTLS
	// Direct is whether the proxy listens at the port itself, too, at Bind; "": the pod's own address.
	Direct bool
	Bind   string
	Pool   *ConnectionPool // nil: the Sidecar's
}

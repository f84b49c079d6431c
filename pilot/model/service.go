package model

// Resolution is how a service's endpoints are found.
type Resolution uint8

// The resolutions.
const (
	ResolveEndpoints     Resolution = iota // EDS: ClusterIP Services, STATIC ServiceEntries
	ResolveHeadless                        // the original destination, one of the service's pods
	ResolvePassthrough                     // ServiceEntry NONE: the original destination
	ResolveDNS                             // ServiceEntry DNS: strict
	ResolveDNSRoundRobin                   // ServiceEntry DNS_ROUND_ROBIN: logical
	ResolveAlias                           // ExternalName: AliasOf
	ResolveNamed                           // ServiceEntry DYNAMIC_DNS: the name that a request or a ClientHello brings
)

// LookedUp reports whether proxies look the endpoints up by DNS.
func (r Resolution) LookedUp() bool { return r == ResolveDNS || r == ResolveDNSRoundRobin }

// Service is one host that traffic can be sent to: a Kubernetes Service or one host of a ServiceEntry.
type Service struct {
	Host      string // FQDN, lower case; may begin with "*" for a ServiceEntry
	Name      string // Kubernetes name; for a ServiceEntry its host
	Namespace string
	From      Name // the object
	// Joined are further ServiceEntries of the host and namespace, whose ports, endpoints and addresses it has, too.
	Joined []Name
	// Created is when the object was, in seconds since 1970; 0: not known, and older than all.
	Created int64
	// Entry is true for a ServiceEntry.
	Entry bool
	// External is true for MESH_EXTERNAL: no mesh mTLS, and mesh headers do not leave to it.
	External   bool
	Resolution Resolution
	AliasOf    string
	// Addresses are the VIPs (or CIDRs of a ServiceEntry); none for headless Services and for entries without addresses.
	Addresses []string
	// Outer are the addresses of a Kubernetes Service that those outside of the cluster reach it by: external ones, and its load balancer's.
	Outer []string
	// Allocated are addresses that the mesh gave to a ServiceEntry's host without any: one of each family, and beside them the addresses of those
	// Joined. They mean something only to proxies that answer their pod's DNS questions.
	Allocated []string
	Ports     []ServicePort
	// Selector chooses the pods behind the service. Nil: no pods of its own.
	Selector Selector
	Export   Visibility
	// SANs are a ServiceEntry's subjectAltNames: the identities that its endpoints may have.
	SANs []string
	// DNSEndpoints are the addresses that ResolveDNS looks up, by service port; empty: Host itself.
	DNSEndpoints map[uint16][]*Endpoint
	// Locality is the preference that the service's traffic distribution asks for. Nil: none.
	Locality *LocalityPolicy
	// Session is by what clients stay with the endpoint that served them first. Nil: they do not.
	Session *Session
	// DualStack says that the pods of a headless service may have addresses beside those that its endpoints tell.
	DualStack bool
	// PublishNotReady also routes to endpoints that are not ready.
	PublishNotReady bool
}

// Selects reports whether the service chooses a workload of its namespace. Of a pod, only ServiceEntries look at where it runs.
func (s *Service) Selects(w *Workload) bool {
	if s.Entry || w.Own == nil {
		return s.Selector.Matches(w.Labels)
	}
	return s.Selector.Matches(w.Own)
}

// Session is a cookie, or a header, that names an endpoint.
type Session struct {
	Cookie, Path string
	Header       string
}

// Port returns the port numbered n, or nil.
func (s *Service) Port(n uint16) *ServicePort {
	for i := range s.Ports {
		if s.Ports[i].Number == n {
			return &s.Ports[i]
		}
	}
	return nil
}

// ServicePort is one port of a service.
type ServicePort struct {
	Name     string
	Number   uint16
	Protocol Protocol
	// Target is the container port if it is a number; 0 where it is named (see TargetName) or does not apply.
	Target     uint16
	TargetName string
}

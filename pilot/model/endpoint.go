package model

import "github.com/heddle-mesh/heddle/internal/spiffe"

// Health of an endpoint.
type Health uint8

// The states that EndpointSlices tell of.
const (
	Healthy Health = iota
	Unhealthy
	Draining
)

// SocketScheme begins the address of a Unix domain socket, which has no port.
const SocketScheme = "unix://"

// Endpoint is one address behind a service port, with facts, not policy.
type Endpoint struct {
	Address  string // IP, host name for DNS, or SocketScheme and a path
	Port     uint16
	Health   Health
	Weight   uint32 // 0 means 1
	Hostname string // the pod's own name below a headless service's
	Locality Locality
	Node     string
	// MeshTLS says that the workload's proxy takes mesh mTLS (label security.istio.io/tlsMode=istio).
	MeshTLS  bool
	Identity spiffe.Identity
	Workload Facts
	Labels   Labels // for subsets; those of where it runs are among them
}

// Locality is region/zone/subzone from node labels or the ServiceEntry.
type Locality struct{ Region, Zone, Subzone string }

// Facts name a workload in telemetry.
type Facts struct {
	Workload, Namespace, Pod, CanonicalName, CanonicalRevision, App, Version, Cluster string
}

// EndpointKey names the endpoints of one service port.
type EndpointKey struct {
	Host string
	// Namespace of the service, since equal hosts may exist in several.
	Namespace string
	Port      uint16
}

// EndpointIndex is all endpoints at one moment. The slices are immutable; equal content keeps its slice.
type EndpointIndex struct {
	Sets map[EndpointKey]*EndpointSet
}

// EndpointSet is the endpoints of one service port.
type EndpointSet struct {
	Key       EndpointKey
	Endpoints []*Endpoint // sorted by address and port
}

// WorkloadGroup is what the WorkloadEntries of its machines are made of.
type WorkloadGroup struct {
	From        Name
	UID         string
	Account     string            // service account, the only one whose proof counts
	Labels      map[string]string // of the entry's spec
	Annotations map[string]string
	Ports       map[string]uint32
	Locality    string
	Weight      uint32
	Probed      bool // its proxies say whether their applications are healthy
}

// Workload is a pod that may hold a proxy, or a machine that does.
type Workload struct {
	Name           Name
	UID            string
	IPs            []string
	Labels         Labels // those of where it runs are among them
	Own            Labels // a pod's, which the selectors of Services go by; nil: Labels
	Annotations    map[string]string
	Identity       spiffe.Identity
	Node           string
	Locality       Locality
	Facts          Facts
	ContainerPorts map[string]uint16 // by name, for named target ports
	// Topology is what its pod says of a gateway in place of the mesh's; nil: nothing, or nothing that can be read, which Unread tells of.
	Topology *Topology
	Unread   string
	// Machine: no pod, but a machine that registered itself, whose ContainerPorts go by the names of services' ports, too.
	Machine bool
}

// WorkloadIndex is all workloads at one moment.
type WorkloadIndex struct {
	ByName map[Name]*Workload
	// Machines by the names of their WorkloadEntries, which pods may have, too.
	Machines map[Name]*Workload
	// ByIP leaves out pods in the host's network, whose addresses are not theirs alone.
	ByIP map[string]*Workload
}

package wire

// Type URLs of the resources that travel over ADS.
const (
	TypeListener  = "type.googleapis.com/envoy.config.listener.v3.Listener"
	TypeRoute     = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	TypeCluster   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	TypeEndpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	TypeSecret    = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	TypeNames     = "type.googleapis.com/envoy.data.dns.v3.DnsTable" // for proxies that answer their pod's DNS questions (MetaDNSCapture)
	// TypeNameTable is all names in one resource, as Istio's control plane tells them.
	TypeNameTable = "type.googleapis.com/istio.networking.nds.v1.NameTable"
	// TypeHealth is of requests alone, as in Istio: a machine's proxy tells that its application is healthy, or with an error that it is not.
	TypeHealth = "type.googleapis.com/istio.v1.HealthInformation"
	// TypeVirtualHost is one host of a route configuration on demand. Its name is the configuration's, a slash, and the host as it was asked for.
	TypeVirtualHost = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
)

// Resource is one xDS resource on its way: named, versioned, opaque. It is immutable after it was made.
type Resource struct {
	Type    string // one of the Type constants
	Name    string
	Version string // a hash of Body; equal versions mean equal bytes
	Body    []byte // the marshalled message that Type names, deterministic
	Record  []byte // the resource as a delta response carries it, with Body at its end; nil: nobody has packed it yet
}

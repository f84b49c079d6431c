package model

// LocalityPolicy is how clients prefer endpoints by where they are. At most one of the lists is set; with none, the nearest come first. But for
// Distribute it needs a way to tell that endpoints fail: it is inert without outlier detection, unless Always.
type LocalityPolicy struct {
	Off    bool // no preference, whatever the mesh's is
	Always bool // traffic distribution of a Service: an endpoint that is not ready is reason enough to go elsewhere
	// Distribute shares traffic out by the client's locality. The first that matches counts.
	Distribute []*Distribution
	// Failover says which region comes after the client's own.
	Failover []RegionFailover
	// Labels order endpoints by how many of them, from the first on, are as wanted (failoverPriority).
	Labels []LabelPreference
}

// Distribution is how traffic from one locality is shared out. Endpoints that no share is for get nothing.
type Distribution struct {
	From LocalityPattern
	To   []LocalityShare // sorted
}

// LocalityShare is the percentage of traffic for a locality.
type LocalityShare struct {
	At      LocalityPattern
	Percent uint32
}

// LocalityPattern matches localities. An empty part matches any.
type LocalityPattern Locality

// Matches reports whether a locality is meant.
func (p LocalityPattern) Matches(l Locality) bool {
	return (p.Region == "" || p.Region == l.Region) && (p.Zone == "" || p.Zone == l.Zone) && (p.Subzone == "" || p.Subzone == l.Subzone)
}

// RegionFailover is the region that comes after the client's.
type RegionFailover struct{ From, To string }

// LabelPreference is a label that endpoints should have: the value given, or the client's own.
type LabelPreference struct {
	Key   string
	Value string
	Given bool
}

// The labels that stand for where something runs.
const (
	LabelRegion   = "topology.kubernetes.io/region"
	LabelZone     = "topology.kubernetes.io/zone"
	LabelSubzone  = "topology.istio.io/subzone"
	LabelHostname = "kubernetes.io/hostname"
	LabelCluster  = "topology.istio.io/cluster"
	LabelNetwork  = "topology.istio.io/network"
)

package discovery

import (
	"context"
	"errors"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// Caller is who a stream's proof names.
type Caller struct {
	Identity  spiffe.Identity
	Namespace string
	Pod       string
	// Machine: no pod, but a machine. Pod is then the name of its WorkloadEntry, once there is one.
	Machine bool
}

// Authenticate finds out who opened the stream of ctx. claimedPod is the pod that the node says it is, for proofs that name an
// identity only; it is to be believed only where that pod runs as that identity. An error ends the stream as Unauthenticated.
type Authenticate func(ctx context.Context, claimedPod string) (Caller, error)

// Machines knows machines outside of the cluster. Its methods may be called from several goroutines.
type Machines interface {
	// Prove finds out which account the machine acts for whose proxy opened the stream of ctx. Its errors are those of Authenticate.
	Prove(ctx context.Context) (Caller, error)
	// Register notes that the proxy of a machine is connected from now on, and returns the name of its WorkloadEntry. ErrNoMachine: it may not
	// be; any other error: nobody can tell now.
	Register(ctx context.Context, caller Caller, node Node) (Registration, error)
}

// Registration is a machine whose proxy is connected.
type Registration interface {
	// Entry is the name of the WorkloadEntry.
	Entry() string
	// Health notes what the proxy tells of its application: it is healthy where reason is empty.
	Health(reason string)
	// Leave notes that the proxy's stream has ended.
	Leave()
}

// Node is what a proxy says of itself. Nothing in it is believed beyond Dialect, Version, Generator, Certificates, Names, Allocated and OnDemand, which concern itself alone.
type Node struct {
	ID             string
	Role           string // wire.NodeSidecar or wire.NodeRouter
	Pod            string
	Namespace      string
	ServiceAccount string
	Version        string
	Dialect        int    // 0: a foreign proxy
	Generator      string // wire.GeneratorGRPC, or empty for proxies
	Certificates   string // the folder where it finds its own certificate; "": the default
	OnDemand       bool   // it asks for hosts, clusters and listeners when they are first used
	Names          bool   // it answers its pod's DNS questions
	Allocated      bool   // with the addresses that the mesh gave to ServiceEntries, too
	// Group is the WorkloadGroup by which a machine's proxy registers, "": a pod's proxy; and Address the machine's. The Machines judge them.
	Group, Address string
}

// Errors of Subscribe, which decide how the stream ends.
var (
	ErrNotReady      = errors.New("caches are not synced yet")              // Unavailable
	ErrUnknownPod    = errors.New("the pod is not known yet")               // Unavailable
	ErrContradiction = errors.New("the node contradicts the proof it gave") // PermissionDenied
	ErrNoMachine     = errors.New("the machine may not register itself")    // PermissionDenied, of Register
)

// Registry knows proxies and what they may be told.
type Registry interface {
	// Subscribe waits a little until the caller's pod is known. Its errors wrap one of the Err values.
	Subscribe(ctx context.Context, caller Caller, node Node) (Subscription, error)
}

// Subscription is one proxy's view of the mesh as it changes. Its methods may be called from several goroutines.
type Subscription interface {
	// Changed gets a value when Take has something to tell.
	Changed() <-chan struct{}
	// Take returns what may have changed since the last Take, and forgets it. What it returns may be shared, and is not to be changed.
	Take() Changes
	// View returns the latest state.
	View() View
	// Progress returns the version of the mesh that View shows, and the last one of whose changes Take has returned all. Versions count
	// up from 1; 0: unknown.
	Progress() (latest, complete uint64)
	// Asked notes that the proxy asks for resources of a partial type by name.
	Asked(typeURL string, names map[string]bool)
	Close()
}

// Changes are the names that may have changed, by type URL. A nil set means all names of the type.
type Changes map[string]map[string]bool

// Merge adds o to c.
func (c Changes) Merge(o Changes) {
	for typ, names := range o {
		have, known := c[typ]
		switch {
		case known && have == nil:
		case names == nil:
			c[typ] = nil
		case !known:
			c[typ] = make(map[string]bool, len(names))
			fallthrough
		default:
			for name := range names {
				c[typ][name] = true
			}
		}
	}
}

// View is what one proxy may know at one moment. It is immutable and may be read concurrently.
type View interface {
	// All returns the resources of a wildcard type that are the proxy's unasked, sorted by name.
	All(typeURL string) []*wire.Resource
	// Partial reports whether there are others of a wildcard type, which it is told of only where it asks for them by name.
	Partial(typeURL string) bool
	// Includes reports whether All of a partial type includes a resource of that name.
	Includes(typeURL, name string) bool
	// Needs returns what a resource of a partial type refers to, and what that does.
	Needs(typeURL, name string) Changes
	// Get returns a resource by name, or nil. It may wait for what only the cluster knows, a Secret or the right to it.
	Get(ctx context.Context, typeURL, name string) *wire.Resource
}

// pushOrder is the order in which a proxy learns of types: what is referred to comes first.
func pushOrder() []string {
	return []string{wire.TypeCluster, wire.TypeEndpoints, wire.TypeListener, wire.TypeRoute, wire.TypeVirtualHost, wire.TypeSecret, wire.TypeNames}
}

// wildcard reports whether a type is sent unasked: whole, or partly.
func wildcard(typeURL string) bool {
	return typeURL == wire.TypeCluster || typeURL == wire.TypeListener || typeURL == wire.TypeNames || typeURL == wire.TypeVirtualHost
}

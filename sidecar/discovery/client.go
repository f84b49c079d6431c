// Package discovery asks the control plane for this proxy's resources over incremental xDS and hands them on by name, version and
// opaque bytes. It owns subscriptions, nonces, acknowledgements and reconnecting; it never looks inside a resource.
package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/heddle-mesh/heddle/api/wire"
	"google.golang.org/grpc"
)

const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 10 * time.Second
	quiet        = 3 * time.Millisecond  // a batch ends when nothing came for so long
	longest      = 50 * time.Millisecond // or when it lasted so long
	fetchTimeout = 15 * time.Second      // a name asked for and not answered for so long counts as absent
)

// Update is what changed among the resources of one type.
type Update struct {
	Type    string
	Changed []wire.Resource
	Removed []string // gone, or never there
}

// Sink makes configuration of resources. One goroutine calls it.
type Sink interface {
	// Apply takes an update and returns what it refuses, by resource name. The last good version of a refused resource stays.
	Apply(Update) map[string]error
	// Wanted returns the names of typ that what was applied refers to.
	Wanted(typ string) []string
	// Commit puts all that was applied in force.
	Commit()
}

// Dial opens a connection to the control plane.
type Dial = func() (*grpc.ClientConn, error)

// Options of a Client.
type Options struct {
	Node Node
	Dial Dial // called for each attempt
	Sink Sink
	Log  *slog.Logger
}

// Client is the proxy's end of ADS. Its goroutine, Run's, owns all state; Status may be asked from any.
type Client struct {
	options Options
	open    func(ctx context.Context) (s stream, done func(), err error)
	types   map[string]*subscription
	asked   chan struct{}
	health  atomic.Pointer[string] // what was told last of the application; nil: nothing
	felt    chan struct{}          // that changed
	status  statusBox
}

// stream is what is used of a gRPC stream.
type stream interface {
	Send(*ads.DeltaDiscoveryRequest) error
	Recv() (*ads.DeltaDiscoveryResponse, error)
}

// order is the order in which types are asked for, and the only types there are for this proxy.
func (n Node) order() []string {
	types := []string{wire.TypeCluster, wire.TypeEndpoints, wire.TypeListener, wire.TypeRoute, wire.TypeSecret}
	if n.OnDemand {
		types = append(types, wire.TypeVirtualHost)
	}
	if n.Names {
		types = append(types, n.NamesType())
	}
	return types
}

// named says whether resources of typ are asked for by name, even where some of it is this proxy's without a name.
func (n Node) named(typ string) bool {
	return !wildcard(typ) || n.OnDemand && typ != wire.TypeNames
}

// refers says whether resources of typ may name others that are to be asked for.
func (n Node) refers(typ string) bool {
	return wildcard(typ) || n.OnDemand && typ == wire.TypeRoute
}

// wildcard says whether all resources of typ are this proxy's, named or not.
func wildcard(typ string) bool {
	return typ == wire.TypeCluster || typ == wire.TypeListener || typ == wire.TypeNames || typ == wire.TypeNameTable || typ == wire.TypeVirtualHost
}

// New returns a client that has asked for nothing yet.
func New(options Options) *Client {
	c := &Client{options: options, types: map[string]*subscription{}, asked: make(chan struct{}, 1), felt: make(chan struct{}, 1)}
	c.open = c.dial
	for _, typ := range options.Node.order() {
		c.types[typ] = newSubscription()
	}
	return c
}

// Ask has what the sink wants asked for, where it wants more than resources refer to.
func (c *Client) Ask() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

// Health tells the control plane, now and on each stream to come, that the application is healthy (""), or why it is not.
func (c *Client) Health(reason string) {
	c.health.Store(&reason)
	select {
	case c.felt <- struct{}{}:
	default:
	}
}

// Run keeps a stream open until ctx ends. While there is none, all that was received stays in force.
func (c *Client) Run(ctx context.Context) error {
	backoff := firstBackoff
	for {
		answered, err := c.session(ctx)
		c.status.disconnected(err)
		if ctx.Err() != nil {
			return nil
		}
		if answered {
			backoff = firstBackoff
		}
		wait := time.Duration((0.5 + rand.Float64()) * float64(backoff))
		c.options.Log.Warn("no connection to the control plane; configuration stays", "again_in", wait, "error", err)
		if !sleep(ctx, wait) {
			return nil
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// dial opens a stream on a connection of its own.
func (c *Client) dial(ctx context.Context) (stream, func(), error) {
	conn, err := c.options.Dial()
	if err != nil {
		return nil, nil, err
	}
	done := func() { conn.Close() } // nothing is left to be told
	s, err := ads.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		done()
		return nil, nil, err
	}
	return s, done, nil
}

// session is one stream from dialling to its end; answered says whether it brought anything.
func (c *Client) session(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opened, done, err := c.open(ctx)
	if err != nil {
		return false, fmt.Errorf("opening a stream: %w", err)
	}
	defer done()
	s := &session{Client: c, stream: opened, node: c.options.Node.Message(), responses: make(chan *ads.DeltaDiscoveryResponse, 16), failed: make(chan error, 1)}
	err = s.run(ctx)
	return s.answered, err
}

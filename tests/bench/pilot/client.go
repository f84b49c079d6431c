package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
)

// client is one proxy's end of delta ADS, in the order of a stock Envoy: clusters, their endpoints, listeners, their routes. On demand it asks for what it
// uses once it knows its own listeners.
type client struct {
	fleet  *fleet
	number int
	node   string
	tls    *tls.Config

	once sync.Once // has everything

	mu       sync.Mutex // guards what follows: progress is asked for by others
	error    error      // of the last stream
	clusters map[string]bool
	asked    map[key]bool
	waiting  map[key]bool // of these, those that were not answered yet
	held     map[key]bool // on demand: what came, asked for or ahead of that
	listens  bool
	using    bool // what it uses was asked for
	greeted  bool // it has said who it is
	goal     *goal
	met      uint32
}

// key is a name of a type; no name: all of it.
type key struct{ typ, name string }

// Windows that Envoy opens for its xDS stream, bytes; a client of Go's default would be the slower.
const window = 1 << 20

// run keeps a stream until ctx ends.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.error = err
		c.mu.Unlock()
		_ = pause(ctx, 200*time.Millisecond)
	}
}

func (c *client) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+c.fleet.address, grpc.WithTransportCredentials(credentials.NewTLS(c.tls)),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window), grpc.WithDisableServiceConfig(), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(512<<20)))
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, ads.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName)
	if err != nil {
		c.fleet.refused.Add(1)
		return err
	}
	c.reset()
	out := newOutbox()
	defer out.close()
	go out.run(s)
	c.ask(out, wire.TypeCluster)
	if c.fleet.ours {
		c.ask(out, wire.TypeListener)
	}
	if c.fleet.onDemand {
		c.ask(out, wire.TypeVirtualHost)
	}
	began := false
	var room []resource
	for {
		var f frame
		if err := s.RecvMsg(&f); err != nil {
			if began {
				c.fleet.lost.Add(1)
			} else {
				c.fleet.refused.Add(1)
			}
			return err
		}
		began = true
		data := f.buffer.ReadOnlyData()
		c.fleet.received.Add(int64(len(data)))
		r, err := read(data, room)
		if err == nil {
			err = c.take(r, out)
		}
		room = r.resources
		f.buffer.Free()
		if err != nil {
			return err
		}
	}
}

// reset forgets what an earlier stream brought: this client begins anew, as a proxy that starts.
func (c *client) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clusters, c.asked, c.waiting, c.held = map[string]bool{}, map[key]bool{}, map[key]bool{}, map[key]bool{}
	c.listens, c.using, c.greeted = false, false, false
}

// ask subscribes to a type, or to names of it.
func (c *client) ask(out *outbox, typ string, names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.askLocked(out, typ, names...)
}

func (c *client) askLocked(out *outbox, typ string, names ...string) {
	if len(names) == 0 && c.asked[key{typ, ""}] {
		return
	}
	r := &ads.DeltaDiscoveryRequest{TypeUrl: typ}
	if !c.greeted {
		c.greeted, r.Node = true, c.message()
	}
	if c.asked[key{typ, ""}] = true; len(names) == 0 {
		r.ResourceNamesSubscribe = []string{"*"}
	}
	for _, name := range names {
		if k := (key{typ, name}); !c.asked[k] {
			c.asked[k] = true
			if !c.held[k] { // otherwise it came before it was asked for
				c.waiting[k] = true
			}
			r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, name)
		}
	}
	if len(r.ResourceNamesSubscribe) > 0 {
		out.put(r)
	}
}

// message is what the client says of itself.
func (c *client) message() *core.Node {
	n := &core.Node{Id: c.node, UserAgentName: "envoy"}
	if c.fleet.ours {
		n.UserAgentName = "heddle-proxy"
		n.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{wire.MetaDialect: structpb.NewStringValue(strconv.Itoa(wire.Dialect))}}
	}
	if c.fleet.onDemand {
		n.Metadata.Fields[wire.MetaOnDemand] = structpb.NewStringValue("true")
	}
	return n
}

// take accepts a response and asks for what it refers to.
func (c *client) take(r response, out *outbox) error {
	out.put(&ads.DeltaDiscoveryRequest{TypeUrl: r.typ, ResponseNonce: r.nonce})
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.fleet.goal.Load()
	if g != c.goal {
		c.goal, c.met = g, 0
	}
	var wanted []string
	for _, res := range r.resources {
		e, err := c.fleet.catalog.entry(r.typ, res)
		if err != nil {
			return err
		}
		if e.service {
			c.clusters[e.name] = true
		}
		delete(c.waiting, key{r.typ, e.name})
		if c.fleet.onDemand {
			c.held[key{r.typ, e.name}] = true
		}
		wanted = append(wanted, e.wants...)
		if g != nil {
			c.meet(g, e.of(g, r.typ, res.body))
		}
	}
	for _, name := range r.removed {
		delete(c.waiting, key{r.typ, string(name)})
		delete(c.held, key{r.typ, string(name)})
		delete(c.clusters, string(name))
	}
	c.follow(r.typ, wanted, out)
	return nil
}

// follow asks for what a response made known, and notices when everything is there.
func (c *client) follow(typ string, wanted []string, out *outbox) {
	switch typ {
	case wire.TypeCluster:
		if len(wanted) > 0 {
			c.askLocked(out, wire.TypeEndpoints, wanted...)
		}
	case wire.TypeListener:
		c.listens = true
		if len(wanted) > 0 {
			c.askLocked(out, wire.TypeRoute, wanted...)
		}
	case wire.TypeVirtualHost:
		if len(wanted) > 0 {
			c.askLocked(out, wire.TypeCluster, wanted...)
		}
	}
	if c.fleet.onDemand && c.listens && !c.using {
		c.using = true
		c.use(out)
	}
	if len(c.clusters) < c.fleet.expected || len(c.waiting) > 0 {
		return
	}
	if c.askLocked(out, wire.TypeListener); c.listens {
		c.once.Do(c.fleet.connecting.Done)
	}
}

// use asks as requests to the services would: for the listeners of their address, and for their host. It knows of hosts, too, that are not there yet.
func (c *client) use(out *outbox) {
	m := c.fleet.mesh
	listeners, hosts := []string{fmt.Sprintf("0.0.0.0_%d", servicePort)}, []string(nil)
	for _, i := range m.used(c.number) {
		listeners = append(listeners, fmt.Sprintf("%s_%d", c.fleet.serviceIPs[i], servicePort))
		hosts = append(hosts, m.virtualHost(i))
	}
	for round := range changes {
		hosts = append(hosts, m.virtualHost(m.later(round)))
	}
	c.askLocked(out, wire.TypeListener, listeners...)
	c.askLocked(out, wire.TypeVirtualHost, hosts...)
}

// meet notes needs that were met; a client counts once.
func (c *client) meet(g *goal, needs uint32) {
	all := uint32(1)<<len(g.needs) - 1
	if needs == 0 || c.met == all {
		return
	}
	if c.met |= needs; c.met == all {
		g.reached()
	}
}

// progress says how far the client is.
func (c *client) progress() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("%s has %d of %d clusters, waits for %d resources, listeners: %v, last stream: %v", c.node, len(c.clusters), c.fleet.expected, len(c.waiting), c.listens, c.error)
	return text, c.listens && len(c.waiting) == 0 && len(c.clusters) >= c.fleet.expected
}

// outbox sends requests in order, so that whoever receives never waits for whoever sends.
type outbox struct {
	mu      sync.Mutex
	pending []*ads.DeltaDiscoveryRequest
	closed  bool
	wake    chan struct{}
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func (o *outbox) put(r *ads.DeltaDiscoveryRequest) {
	o.mu.Lock()
	o.pending = append(o.pending, r)
	o.mu.Unlock()
	o.nudge()
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.nudge()
}

func (o *outbox) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run sends until the outbox is closed or the stream is broken, which the receiver notices too.
func (o *outbox) run(s grpc.ClientStream) {
	for range o.wake {
		o.mu.Lock()
		pending, closed := o.pending, o.closed
		o.pending = nil
		o.mu.Unlock()
		if closed {
			return
		}
		for _, r := range pending {
			if s.SendMsg(r) != nil {
				return
			}
		}
	}
}

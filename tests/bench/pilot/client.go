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
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/bench/pilot/stream"
)

// client is one proxy's end of delta ADS, in the order of a stock Envoy: clusters, their endpoints, listeners, their routes. On demand it asks for what it
// uses once it knows its own listeners.
type client struct {
	fleet  *fleet
	number int
	node   string
	tls    *tls.Config // nil: without

	once   sync.Once // has everything
	answer []byte    // room for answers

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

// session is one stream from its beginning to its end. The goroutine that reads is the one that writes.
func (c *client) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, err := c.fleet.dialer.Dial(ctx, c.tls)
	if err != nil {
		c.fleet.refused.Add(1)
		return err
	}
	defer out.Close()
	c.reset()
	began := false
	if err = c.greet(out); err == nil {
		began, err = c.listen(out)
	}
	if began {
		c.fleet.lost.Add(1)
	} else {
		c.fleet.refused.Add(1)
	}
	return err
}

// greet asks for what a proxy asks for first.
func (c *client) greet(out *stream.Stream) error {
	types := []string{wire.TypeCluster}
	if c.fleet.ours {
		types = append(types, wire.TypeListener)
	}
	if c.fleet.onDemand {
		types = append(types, wire.TypeVirtualHost)
	}
	for _, typ := range types {
		if err := c.ask(out, typ); err != nil {
			return err
		}
	}
	return nil
}

// listen takes responses until the stream ends. It reports whether any came.
func (c *client) listen(out *stream.Stream) (began bool, err error) {
	var room []resource
	for {
		message, err := out.Recv()
		if err != nil {
			return began, err
		}
		began = true
		c.fleet.received.Add(int64(len(message)))
		r, err := read(message, room)
		if err != nil {
			return began, err
		}
		if err := c.take(r, out); err != nil {
			return began, err
		}
		room = r.resources
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
func (c *client) ask(out *stream.Stream, typ string, names ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.askLocked(out, typ, names...)
}

func (c *client) askLocked(out *stream.Stream, typ string, names ...string) error {
	if len(names) == 0 && c.asked[key{typ, ""}] {
		return nil
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
	if len(r.ResourceNamesSubscribe) == 0 {
		return nil
	}
	message, err := proto.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	return out.Send(message)
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
func (c *client) take(r response, out *stream.Stream) error {
	c.answer = appendAnswer(c.answer[:0], r)
	if err := out.Send(c.answer); err != nil {
		return err
	}
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
	return c.follow(r.typ, wanted, out)
}

// follow asks for what a response made known, and notices when everything is there.
func (c *client) follow(typ string, wanted []string, out *stream.Stream) error {
	if len(wanted) > 0 {
		if err := c.askLocked(out, wantedType(typ), wanted...); err != nil {
			return err
		}
	}
	c.listens = c.listens || typ == wire.TypeListener
	if c.fleet.onDemand && c.listens && !c.using {
		c.using = true
		if err := c.use(out); err != nil {
			return err
		}
	}
	if len(c.clusters) < c.fleet.expected || len(c.waiting) > 0 {
		return nil
	}
	err := c.askLocked(out, wire.TypeListener)
	if c.listens {
		c.once.Do(c.fleet.connecting.Done)
	}
	return err
}

// wantedType is the type of what resources of a type refer to.
func wantedType(typ string) string {
	switch typ {
	case wire.TypeCluster:
		return wire.TypeEndpoints
	case wire.TypeListener:
		return wire.TypeRoute
	}
	return wire.TypeCluster
}

// use asks as requests to the services would: for the listeners of their address, and for their host. It knows of hosts, too, that are not there yet.
func (c *client) use(out *stream.Stream) error {
	m := c.fleet.mesh
	listeners, hosts := []string{fmt.Sprintf("0.0.0.0_%d", servicePort)}, []string(nil)
	for _, i := range m.used(c.number) {
		listeners = append(listeners, fmt.Sprintf("%s_%d", c.fleet.serviceIPs[i], servicePort))
		hosts = append(hosts, m.virtualHost(i))
	}
	for round := range changes {
		hosts = append(hosts, m.virtualHost(m.later(round)))
	}
	if err := c.askLocked(out, wire.TypeListener, listeners...); err != nil {
		return err
	}
	return c.askLocked(out, wire.TypeVirtualHost, hosts...)
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

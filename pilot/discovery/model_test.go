package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
)

// client is a proxy that does all that the protocol allows, and remembers what it was told.
type client struct {
	*line
	dice  *rand.Rand
	holds map[string]map[string]string // type to name to version; absent names are ""
	names map[string]map[string]bool   // named subscriptions
	asked map[string]bool
}

func newClient(l *line, dice *rand.Rand) *client {
	return &client{line: l, dice: dice, holds: map[string]map[string]string{}, names: map[string]map[string]bool{}, asked: map[string]bool{}}
}

// listen takes what the server sent, and answers it or not.
func (c *client) listen() {
	synctest.Wait()
	for {
		select {
		case r := <-c.down:
			c.take(r)
			answer := &request{typ: r.typ, nonce: r.nonce, names: slices.Collect(maps.Keys(c.names[r.typ]))}
			if c.dice.IntN(4) == 0 {
				answer.fault = &rpcstatus.Status{Message: "refused"}
			}
			c.ask(answer)
			synctest.Wait()
		default:
			return
		}
	}
}

func (c *client) take(r *response) {
	if c.holds[r.typ] == nil {
		c.holds[r.typ] = map[string]string{}
	}
	if !c.isDelta && wildcard(r.typ) {
		clear(c.holds[r.typ])
	}
	for _, res := range r.resources {
		if wildcard(r.typ) || c.names[r.typ][res.Name] { // others were unsubscribed while the response was on its way
			c.holds[r.typ][res.Name] = res.Version
		}
	}
	for _, name := range r.removed {
		delete(c.holds[r.typ], name)
	}
}

// change subscribes to a wildcard type, or to other names of a named one.
func (c *client) change(typ string) {
	if wildcard(typ) {
		if !c.asked[typ] {
			c.send1(&request{typ: typ})
		}
		return
	}
	if c.names[typ] == nil {
		c.names[typ] = map[string]bool{}
	}
	name := fmt.Sprint(c.dice.IntN(6))
	r := &request{typ: typ}
	if c.names[typ][name] {
		delete(c.names[typ], name)
		delete(c.holds[typ], name)
		r.unsubscribe = []string{name}
	} else {
		c.names[typ][name] = true
		r.subscribe = []string{name}
	}
	r.names = slices.Collect(maps.Keys(c.names[typ]))
	c.send1(r)
}

func (c *client) send1(r *request) {
	if len(c.asked) == 0 {
		r.node = proxyNode("1")
	}
	c.asked[r.typ] = true
	c.ask(r)
}

// TestTheClientEndsWithTheWorld plays random changes of a world, of subscriptions and of moods, and wants the proxy to hold in the end what it
// subscribed to, as it is.
func TestTheClientEndsWithTheWorld(t *testing.T) {
	for seed := range uint64(150) {
		for _, delta := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) { playRandomly(t, seed, delta) })
		}
	}
}

func playRandomly(t *testing.T, seed uint64, delta bool) {
	dice := rand.New(rand.NewPCG(seed, 7))
	w := newWorld()
	l, _ := connect(t, w, asWeb, delta)
	defer l.close()
	c := newClient(l, dice)
	for range 60 {
		typ := pushOrder()[dice.IntN(4)] // secrets never go away
		switch dice.IntN(3) {
		case 0:
			version := fmt.Sprint(1 + dice.IntN(9))
			if dice.IntN(3) == 0 {
				version = ""
			}
			w.set(typ, fmt.Sprint(dice.IntN(6)), version)
			w.tell()
		case 1:
			c.change(typ)
		}
		if dice.IntN(2) == 0 {
			c.listen()
		}
	}
	c.listen()
	for _, typ := range pushOrder()[:4] {
		want := map[string]string{}
		for name, version := range w.resources[typ] {
			if wildcard(typ) && c.asked[typ] || c.names[typ][name] {
				want[name] = version
			}
		}
		got := maps.Clone(c.holds[typ])
		if !delta { // absence is not told of named resources
			for name := range got {
				if w.resources[typ][name] == "" && typ != wire.TypeCluster && typ != wire.TypeListener {
					delete(got, name)
				}
			}
		}
		if len(got)+len(want) > 0 && !maps.Equal(got, want) {
			t.Fatalf("seed %d, delta %t: the proxy holds %v of %s, the world has %v", seed, delta, got, shortType(typ), want)
		}
	}
}

package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/heddle-mesh/heddle/api/wire"
)

// replicas are two servers of one mesh, the second of which hears later of what changes, and a proxy that moves between them.
type replicas struct {
	t      *testing.T
	dice   *rand.Rand
	worlds [2]*world
	late   []lateness // that the second does not know yet
	proxy  *client
	// dialect is the proxy's. One without is a stock Envoy, which waits for the endpoints of clusters that it was sent, whatever it holds.
	dialect string
	waits   map[string]bool
}

type lateness struct{ typ, name, version string }

// move cuts the proxy's stream with whatever is on its way, and opens one to a server, saying what the proxy holds.
func (r *replicas) move(to int) {
	r.cut()
	r.proxy.line, _ = connect(r.t, r.worlds[to], asWeb, true)
	node := proxyNode(r.dialect)
	for _, typ := range pushOrder()[:4] {
		if !r.proxy.asked[typ] || !wildcard(typ) && len(r.proxy.names[typ]) == 0 {
			continue
		}
		again := &request{node: node, typ: typ, subscribe: slices.Sorted(maps.Keys(r.proxy.names[typ])), held: maps.Clone(r.proxy.holds[typ])}
		if wildcard(typ) {
			again.subscribe = []string{"*"}
		}
		r.proxy.ask(again)
		node = nil
	}
}

// cut ends the proxy's stream, on which nothing may have been asked yet.
func (r *replicas) cut() {
	if r.proxy.line != nil {
		close(r.proxy.up)
		<-r.proxy.line.ended
	}
}

// hear has the second server know the oldest change that it does not know.
func (r *replicas) hear() {
	c := r.late[0]
	r.late = r.late[1:]
	r.worlds[1].set(c.typ, c.name, c.version)
	r.worlds[1].tell()
}

// listen takes what the proxy is told and acknowledges it. Nothing that both servers have may be taken away.
func (r *replicas) listen() {
	for {
		synctest.Wait()
		select {
		case said := <-r.proxy.down:
			for _, name := range said.removed {
				if r.worlds[0].resources[said.typ][name] != "" && r.worlds[1].resources[said.typ][name] != "" {
					r.t.Errorf("%s %s was taken away though both replicas have it", shortType(said.typ), name)
				}
			}
			r.proxy.take(said)
			r.warm(said)
			r.proxy.ask(&request{typ: said.typ, nonce: said.nonce})
		default:
			return
		}
	}
}

// warm notes for which endpoints a stock Envoy waits.
func (r *replicas) warm(said *response) {
	for _, res := range said.resources {
		switch {
		case said.typ == wire.TypeCluster && r.dialect == "":
			r.waits[res.Name] = true
		case said.typ == wire.TypeEndpoints:
			delete(r.waits, res.Name)
		}
	}
}

// TestAProxyMovesBetweenReplicas plays random changes, of which one of two replicas hears late, and a proxy whose stream is cut at any moment, in
// mid-push too, and that goes to the one or the other. It never loses what both have, ends with the newer state of all, and waits for nothing that there
// is.
func TestAProxyMovesBetweenReplicas(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 11))
			r := &replicas{t: t, dice: dice, worlds: [2]*world{newWorld(), newWorld()}, proxy: newClient(nil, dice),
				dialect: []string{"", "1"}[seed%2], waits: map[string]bool{}}
			r.move(0)
			for range 60 {
				r.step()
			}
			for len(r.late) > 0 {
				r.hear()
				r.listen()
			}
			r.listen()
			r.ended(seed)
			r.cut()
		})
	}
}

// step does one thing, or cuts the stream while the proxy has not read what it was told of some changes. What it is told otherwise it reads at once, so
// that it is known what both servers had when it was said.
func (r *replicas) step() {
	switch r.dice.IntN(6) {
	case 0, 1:
		r.alter()
	case 2:
		if len(r.late) > 0 {
			r.hear()
		}
	case 3:
		r.proxy.change(pushOrder()[r.dice.IntN(4)])
	case 4:
		for range r.dice.IntN(4) {
			r.alter()
			synctest.Wait()
		}
		for range 1 + r.dice.IntN(2) {
			r.move(r.dice.IntN(2))
		}
	}
	r.listen()
}

// alter changes the mesh, of which the first server hears at once.
func (r *replicas) alter() {
	c := lateness{pushOrder()[r.dice.IntN(4)], fmt.Sprint(r.dice.IntN(6)), fmt.Sprint(1 + r.dice.IntN(9))}
	if r.dice.IntN(4) == 0 {
		c.version = ""
	}
	r.worlds[0].set(c.typ, c.name, c.version)
	r.worlds[0].tell()
	r.late = append(r.late, c)
}

// ended compares what the proxy holds with the mesh.
func (r *replicas) ended(seed uint64) {
	for _, typ := range pushOrder()[:4] {
		want := map[string]string{}
		for name, version := range r.worlds[0].resources[typ] {
			if wildcard(typ) && r.proxy.asked[typ] || r.proxy.names[typ][name] {
				want[name] = version
			}
		}
		if got := r.proxy.holds[typ]; len(got)+len(want) > 0 && !maps.Equal(got, want) {
			r.t.Errorf("seed %d: the proxy holds %v of %s, the mesh has %v", seed, got, shortType(typ), want)
		}
	}
	for name := range r.waits {
		if r.proxy.names[wire.TypeEndpoints][name] && r.worlds[0].resources[wire.TypeEndpoints][name] != "" {
			r.t.Errorf("seed %d: the proxy waits for the endpoints of %s", seed, name)
		}
	}
}

// TestAProxyThatComesToAnOlderReplica is the plain case: it is told the older state, keeps what both have, and the newer one once the replica has it.
func TestAProxyThatComesToAnOlderReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older := newWorld()
		older.set(wire.TypeCluster, "both", "1")
		older.set(wire.TypeCluster, "changed", "1")
		l, _ := connect(t, older, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster, subscribe: []string{"*"}, held: map[string]string{"both": "1", "changed": "2", "new": "1"}})
		l.want("the older replica's state, and nothing of what both have", "Cluster changed=1 -new")
		older.set(wire.TypeCluster, "changed", "2")
		older.set(wire.TypeCluster, "new", "1")
		older.tell()
		l.want("the newer state, once it is known there", "Cluster changed=2 new=1")
		l.close()
	})
}

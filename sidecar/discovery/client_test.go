package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
)

// record is a Sink that keeps bodies: a cluster's body lists the endpoints that it needs; a body "bad" is refused.
type record struct {
	mu   sync.Mutex
	log  []string
	have map[string]string   // "type name" -> body
	asks map[string][]string // by type: names that are wanted besides
}

// ask has the client ask for a name.
func (r *record) ask(c *Client, typ, name string) {
	r.mu.Lock()
	r.asks[typ] = append(r.asks[typ], name)
	r.mu.Unlock()
	c.Ask()
}

// lines returns what happened until now.
func (r *record) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

// held returns what is held now.
func (r *record) held() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.have)
}

// Apply implements Sink.
func (r *record) Apply(u Update) map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	refused := map[string]error{}
	for _, c := range u.Changed {
		if string(c.Body) == "bad" {
			refused[c.Name] = errors.New("x.y: not implemented")
			continue
		}
		r.have[short(u.Type)+" "+c.Name] = string(c.Body)
		r.log = append(r.log, fmt.Sprintf("%s %s=%s", short(u.Type), c.Name, c.Body))
	}
	for _, name := range u.Removed {
		delete(r.have, short(u.Type)+" "+name)
		r.log = append(r.log, fmt.Sprintf("%s -%s", short(u.Type), name))
	}
	return refused
}

// Wanted implements Sink.
func (r *record) Wanted(typ string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.Clone(r.asks[typ])
	if typ == wire.TypeEndpoints {
		for key, body := range r.have {
			if strings.HasPrefix(key, "Cluster ") {
				names = append(names, strings.Fields(body)...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Commit implements Sink.
func (r *record) Commit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, "commit")
}

// script is the server's end of a stream.
type script struct {
	requests  chan *ads.DeltaDiscoveryRequest
	responses chan *ads.DeltaDiscoveryResponse
	broken    chan struct{}
}

// Send implements stream.
func (s *script) Send(r *ads.DeltaDiscoveryRequest) error { s.requests <- r; return nil }

// Recv implements stream.
func (s *script) Recv() (*ads.DeltaDiscoveryResponse, error) {
	select {
	case r := <-s.responses:
		return r, nil
	case <-s.broken:
		return nil, io.ErrUnexpectedEOF
	}
}

// sent returns what the client sent until now, a line each.
func (s *script) sent() []string {
	synctest.Wait()
	var out []string
	for {
		select {
		case r := <-s.requests:
			line := short(r.GetTypeUrl())
			for _, name := range r.GetResourceNamesSubscribe() {
				line += " +" + name
			}
			for _, name := range r.GetResourceNamesUnsubscribe() {
				line += " -" + name
			}
			for _, name := range slices.Sorted(maps.Keys(r.GetInitialResourceVersions())) {
				line += " has " + name + "@" + r.GetInitialResourceVersions()[name]
			}
			if r.GetResponseNonce() != "" {
				line += " ack " + r.GetResponseNonce()
			}
			if r.GetErrorDetail() != nil {
				line += " refused " + r.GetErrorDetail().GetMessage()
			}
			if r.GetNode() != nil {
				line += " node"
			}
			out = append(out, line)
		default:
			return out
		}
	}
}

// answer sends name=body pairs, or -name for removals.
func (s *script) answer(typ, nonce string, items ...string) {
	r := &ads.DeltaDiscoveryResponse{TypeUrl: typ, Nonce: nonce, SystemVersionInfo: "v-" + nonce}
	for _, item := range items {
		if name, gone := strings.CutPrefix(item, "-"); gone {
			r.RemovedResources = append(r.RemovedResources, name)
			continue
		}
		name, body, _ := strings.Cut(item, "=")
		r.Resources = append(r.Resources, &ads.Resource{Name: name, Version: nonce, Resource: &anypb.Any{TypeUrl: typ, Value: []byte(body)}})
	}
	s.responses <- r
}

// play runs a client in a bubble; connect returns the next stream that it opens.
func play(t *testing.T, f func(t *testing.T, sink *record, c *Client, connect func() *script)) {
	playAs(t, Node{Type: "sidecar", Pod: "p", Namespace: "n"}, f)
}

// playAs is play for a node.
func playAs(t *testing.T, node Node, f func(t *testing.T, sink *record, c *Client, connect func() *script)) {
	synctest.Test(t, func(t *testing.T) {
		sink := &record{have: map[string]string{}, asks: map[string][]string{}}
		c := New(Options{Node: node, Sink: sink, Log: slog.New(slog.DiscardHandler)})
		streams := make(chan *script)
		c.open = func(ctx context.Context) (stream, func(), error) {
			s := &script{make(chan *ads.DeltaDiscoveryRequest, 100), make(chan *ads.DeltaDiscoveryResponse, 100), make(chan struct{})}
			select {
			case streams <- s:
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
			return s, func() {}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		var last *script
		f(t, sink, c, func() *script { last = <-streams; return last })
		cancel()
		if last != nil {
			select {
			case <-last.broken:
			default:
				close(last.broken)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestSubscribesToWhatIsNeeded(t *testing.T) {
	play(t, func(t *testing.T, sink *record, c *Client, connect func() *script) {
		s := connect()
		same(t, "first requests", s.sent(), "Cluster +* node", "Listener +*")
		s.answer(wire.TypeCluster, "1", "a=e1 e2", "b=")
		same(t, "after clusters", s.sent(), "Cluster ack 1", "ClusterLoadAssignment +e1 +e2")
		s.answer(wire.TypeEndpoints, "2", "e1=x", "e2=y")
		same(t, "after endpoints", s.sent(), "ClusterLoadAssignment ack 2")
		s.answer(wire.TypeCluster, "3", "a=e2", "-b")
		same(t, "after a cluster lost one", s.sent(), "Cluster ack 3", "ClusterLoadAssignment -e1")
		time.Sleep(time.Second)
		synctest.Wait()
		if _, held := sink.held()["ClusterLoadAssignment e1"]; held {
			t.Error("what is no longer asked for is kept")
		}
		if st := c.Status(); !st.Connected || st.Version != "v-3" || st.Types["Cluster"].Responses != 2 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestCommitsBatchesOnce(t *testing.T) {
	play(t, func(t *testing.T, sink *record, _ *Client, connect func() *script) {
		s := connect()
		s.answer(wire.TypeCluster, "1", "a=")
		s.answer(wire.TypeListener, "2", "l=")
		s.sent()
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "what the sink saw", sink.lines(), "Cluster a=", "Listener l=", "commit")
	})
}

func TestRefusesOneAndKeepsItsNeighbours(t *testing.T) {
	play(t, func(t *testing.T, sink *record, c *Client, connect func() *script) {
		s := connect()
		s.sent()
		s.answer(wire.TypeCluster, "1", "a=", "b=")
		s.answer(wire.TypeCluster, "2", "a=bad", "b=", "c=")
		same(t, "answers", s.sent(), "Cluster ack 1", "Cluster ack 2 refused a: x.y: not implemented")
		if st := c.Status().Types["Cluster"]; st.Refusals != 1 || st.Refused["a"] == "" {
			t.Errorf("status %+v", st)
		}
		close(s.broken)
		s = connect()
		same(t, "the next stream's first requests", s.sent(), "Cluster +* has a@1 has b@2 has c@2 node", "Listener +*")
		if sink.held()["Cluster a"] != "" || len(sink.held()) != 3 {
			t.Errorf("held: %v", sink.held())
		}
	})
}

func TestReconnectSaysWhatIsHeld(t *testing.T) {
	play(t, func(t *testing.T, sink *record, c *Client, connect func() *script) {
		s := connect()
		s.answer(wire.TypeCluster, "1", "a=e1")
		s.answer(wire.TypeEndpoints, "2", "e1=x")
		s.sent()
		close(s.broken)
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if c.Status().Connected || len(sink.held()) != 2 {
			t.Errorf("after the end of the stream: %+v, %v", c.Status(), sink.held())
		}
		before := time.Now()
		s = connect()
		if wait := time.Since(before); wait < firstBackoff/3 || wait > 2*firstBackoff {
			t.Errorf("reconnected after %v", wait)
		}
		same(t, "first requests", s.sent(), "Cluster +* has a@1 node", "ClusterLoadAssignment +e1 has e1@2", "Listener +*")
		s.answer(wire.TypeCluster, "3", "-a")
		same(t, "a removal while we were away", s.sent(), "Cluster ack 3", "ClusterLoadAssignment -e1")
	})
}

func TestBacksOff(t *testing.T) {
	play(t, func(t *testing.T, _ *record, _ *Client, connect func() *script) {
		start := time.Now()
		for range 6 {
			close(connect().broken)
		}
		connect()
		if d := time.Since(start); d < 10*time.Second || d > 60*time.Second {
			t.Errorf("six attempts took %v", d)
		}
	})
}

func TestGoesOnWithoutAnAnswer(t *testing.T) {
	play(t, func(t *testing.T, sink *record, _ *Client, connect func() *script) {
		s := connect()
		s.answer(wire.TypeCluster, "1", "a=e1")
		s.sent()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if slices.Contains(sink.lines(), "ClusterLoadAssignment -e1") {
			t.Error("gave up early")
		}
		time.Sleep(7 * time.Second)
		synctest.Wait()
		same(t, "what the sink saw", sink.lines(), "Cluster a=e1", "commit", "ClusterLoadAssignment -e1", "commit")
		s.answer(wire.TypeEndpoints, "2", "e1=late")
		s.sent()
		if sink.held()["ClusterLoadAssignment e1"] != "late" {
			t.Error("a late answer was not taken")
		}
	})
}

func TestRefusesUnknownTypesAndWrongBodies(t *testing.T) {
	play(t, func(t *testing.T, sink *record, _ *Client, connect func() *script) {
		s := connect()
		s.sent()
		s.answer("type.googleapis.com/example.Other", "1", "x=")
		s.responses <- &ads.DeltaDiscoveryResponse{TypeUrl: wire.TypeCluster, Nonce: "2", Resources: []*ads.Resource{
			{Name: "a", Resource: &anypb.Any{TypeUrl: wire.TypeListener}}, {Name: "b", Version: "2", Resource: &anypb.Any{TypeUrl: wire.TypeCluster}}}}
		same(t, "answers", s.sent(), `Other ack 1 refused *: type "type.googleapis.com/example.Other" is unknown`,
			`Cluster ack 2 refused a: its body is of type "`+wire.TypeListener+`"`)
		if _, held := sink.held()["Cluster b"]; !held {
			t.Error("the neighbour was not taken")
		}
	})
}

func TestNamesAreAskedForByWhoAnswersWithThem(t *testing.T) {
	for _, n := range []Node{{}, {Names: true}, {Names: true, Allocated: true}} {
		fields := n.Message().GetMetadata().GetFields()
		if slices.Contains(n.order(), wire.TypeNames) != n.Names || (fields[wire.MetaDNSCapture].GetStringValue() == "true") != n.Names {
			t.Errorf("%+v asks for %v and says %v", n, n.order(), fields)
		}
		if n.Names && fields[wire.MetaDNSAutoAllocate].GetStringValue() != fmt.Sprint(n.Allocated) {
			t.Errorf("%+v says %v", n, fields)
		}
	}
}

// TestNamesAreAskedForAsTheyAreTold holds that Istio's control plane, which ends a stream that asks for what it does not know, is asked for names in its own type.
func TestNamesAreAskedForAsTheyAreTold(t *testing.T) {
	for theirs, want := range map[bool]string{false: wire.TypeNames, true: wire.TypeNameTable} {
		types := Node{Names: true, TheirNames: theirs}.order()
		if last := types[len(types)-1]; last != want || !wildcard(last) {
			t.Errorf("names of Istio's %v: asked for as %s", theirs, last)
		}
	}
}

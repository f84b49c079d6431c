package discovery

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
)

// maxResponse bounds one delta response, bytes of resource bodies; a single resource may be larger.
const maxResponse = 2 << 20

// stream is one proxy's stream. One goroutine owns it; another reads requests, and takes the answers.
type stream struct {
	server *Server
	wire   variant
	node   Node
	sub    Subscription
	// machine is set where the proxy is a machine's.
	machine Registration
	status  *entry
	types   map[string]*subscribed
	serial  atomic.Int64 // of the last response: its nonce and version
	// opening: the response is the first answer about a type, and brings what all versions so far made of it.
	opening bool
}

// serve answers requests and pushes changes until the stream ends.
func (s *stream) serve(ctx context.Context, first *request, requests <-chan *request, failed <-chan error) error {
	if err := s.handle(ctx, first); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case err := <-failed:
			return err
		case r := <-requests:
			if err := s.handle(ctx, r); err != nil {
				return err
			}
		case <-s.sub.Changed():
			if err := s.update(ctx); err != nil {
				return err
			}
		}
	}
}

// update pushes all that changed, and notes which version of the mesh that completes.
func (s *stream) update(ctx context.Context) error {
	_, before := s.sub.Progress()
	s.status.note(func(t *track) { t.began(before) })
	changes := s.sub.Take()
	_, complete := s.sub.Progress()
	if err := s.push(ctx, changes); err != nil {
		return err
	}
	s.status.note(func(t *track) { t.ended(complete) })
	return nil
}

// handle takes one request: a subscription, an answer to a response, or both.
func (s *stream) handle(ctx context.Context, r *request) error {
	if r.typ == wire.TypeHealth {
		s.health(r)
		return nil
	}
	t, known := s.types[r.typ]
	if !known {
		if !servedType(r.typ) {
			return nil // a type that nobody has: a client that asks for it waits without harm
		}
		t = newSubscribed(r.typ, s.server.tables)
		if s.node.Dialect == 0 && r.typ == wire.TypeEndpoints {
			r.held = nil // a stock Envoy may wait for what it holds, see rewarm
		}
		t.begin(r)
		t.partial = s.sub.View().Partial(r.typ)
		s.types[r.typ] = t
		s.status.update(t.typ, func(*TypeStatus, *track) {})
	} else if r.nonce != "" {
		if r.nonce != t.nonce && !s.wire.delta() {
			return nil // an answer to a response that a later one overtook
		}
		s.answered(r)
	}
	var fresh map[string]bool
	if s.wire.delta() {
		fresh = t.differ(r)
	} else {
		fresh = t.replace(r)
	}
	asked := fresh
	if t.partial && len(asked) > 0 {
		s.sub.Asked(t.typ, asked)
	}
	if left := t.takeLeft(); len(left) > 0 {
		s.status.update(t.typ, func(_ *TypeStatus, p *track) { p.mended(t.typ, left, false) })
		s.missing(t)
	}
	if known && len(fresh) == 0 {
		return nil
	}
	if t.wildcard && !t.partial || !known {
		fresh = nil
	}
	s.opening = !known
	s.status.note(func(t *track) { t.answering = true })
	defer s.status.note(func(t *track) { t.answering = false })
	err := s.ahead(ctx, t, asked)
	if err == nil {
		err = s.send(ctx, t, fresh)
	}
	s.opening = false
	return err
}

// health hands on what a machine's proxy tells of its application. Of a pod's, the kubelet tells.
func (s *stream) health(r *request) {
	switch {
	case s.machine == nil:
	case r.fault == nil:
		s.machine.Health("")
	default:
		s.machine.Health(cmp.Or(r.fault.GetMessage(), "no reason given"))
	}
}

func servedType(typ string) bool {
	for _, t := range pushOrder() {
		if t == typ {
			return true
		}
	}
	return false
}

// took takes the answer in a delta request, and reports whether that was all. It is for the goroutine that reads: nearly all requests are answers to pushes,
// and the stream's own need not be woken for them.
func (s *stream) took(r *request) bool {
	if r.nonce == "" || !s.wire.delta() || !s.status.knows(r.typ) {
		return false
	}
	s.answered(r)
	r.nonce = ""
	return len(r.subscribe)+len(r.unsubscribe) == 0
}

// answered records an ACK or a NACK.
func (s *stream) answered(r *request) {
	number, err := strconv.Atoi(r.nonce)
	if err != nil || int64(number) > s.serial.Load() {
		return // of another server
	}
	if r.fault == nil {
		s.status.update(r.typ, func(st *TypeStatus, p *track) {
			st.Acked, st.AckedAt = r.nonce, time.Now()
			p.answered(r.typ, number, "")
		})
		return
	}
	s.status.update(r.typ, func(st *TypeStatus, p *track) {
		st.Refused++
		p.answered(r.typ, number, cmp.Or(r.fault.GetMessage(), "no reason given"))
	})
	s.server.rejects.Add(context.Background(), 1, s.server.labels[r.typ])
	s.server.log.Warn("proxy refused configuration; its last good one stays", "node", s.node.ID, "type", shortType(r.typ), "error", r.fault.GetMessage())
}

// push sends what changed, type by type in order. What is gone leaves last, so that nothing refers to it any more.
func (s *stream) push(ctx context.Context, changes Changes) error {
	var late []*response
	for _, typ := range pushOrder() {
		names, dirty := changes[typ]
		t := s.types[typ]
		if !dirty || t == nil {
			continue
		}
		changed, removed := t.difference(ctx, s.sub.View(), names)
		s.missing(t)
		if len(changed) == 0 && len(removed) == 0 {
			continue
		}
		if s.wire.delta() && len(removed) > 0 && (typ == wire.TypeCluster || typ == wire.TypeEndpoints) {
			late = append(late, &response{typ: typ, removed: removed})
			removed = nil
		}
		if err := s.transmit(ctx, t, changed, removed); err != nil {
			return err
		}
		if again := s.rewarm(t, changed); again != nil {
			again.Merge(changes)
			changes = again
		}
	}
	for i := len(late) - 1; i >= 0; i-- {
		if err := s.transmit(ctx, s.types[late[i].typ], nil, late[i].removed); err != nil {
			return err
		}
	}
	return nil
}

// rewarm has the endpoints of clusters that were sent count as not sent, and returns them: a stock Envoy waits for them whenever a cluster changes, though
// it may hold them.
func (s *stream) rewarm(of *subscribed, sent []*wire.Resource) Changes {
	t := s.types[wire.TypeEndpoints]
	if of.typ != wire.TypeCluster || s.node.Dialect != 0 || t == nil || len(sent) == 0 {
		return nil
	}
	names := make(map[string]bool, len(sent))
	for _, c := range sent {
		names[c.Name] = true
	}
	t.told = t.told.with(nil, slices.Collect(maps.Keys(names)))
	return Changes{wire.TypeEndpoints: names}
}

// send answers a request for names (nil: all that is subscribed).
func (s *stream) send(ctx context.Context, t *subscribed, names map[string]bool) error {
	changed, removed := t.difference(ctx, s.sub.View(), names)
	if err := s.transmit(ctx, t, changed, removed); err != nil {
		return err
	}
	s.missing(t)
	if again := s.rewarm(t, changed); again != nil {
		return s.send(ctx, s.types[wire.TypeEndpoints], again[wire.TypeEndpoints])
	}
	return nil
}

// missing notes what cannot be sent.
func (s *stream) missing(t *subscribed) {
	if t.typ != wire.TypeSecret {
		return
	}
	names := slices.Sorted(maps.Keys(t.missing))
	s.status.update(t.typ, func(st *TypeStatus, p *track) { st.Missing, p.missing = names, names })
}

// transmit sends a difference in the stream's variant. A wildcard type's first answer is sent even where it is empty.
func (s *stream) transmit(ctx context.Context, t *subscribed, changed []*wire.Resource, removed []string) error {
	greeting := t.wildcard && !t.greeted
	if len(changed) == 0 && len(removed) == 0 && !greeting {
		return nil
	}
	defer func() { t.sent(changed, removed) }()
	if !s.wire.delta() {
		if wildcard(t.typ) {
			return s.emit(ctx, t, &response{resources: t.everything(ctx, s.sub.View())})
		}
		if len(changed) == 0 {
			return nil
		}
		return s.emit(ctx, t, &response{resources: changed})
	}
	rest := changed
	for {
		n := chunk(rest)
		r := &response{resources: rest[:n]}
		rest = rest[n:]
		if len(rest) == 0 {
			r.removed = removed
		}
		if err := s.emit(ctx, t, r); err != nil || len(rest) == 0 {
			return err
		}
	}
}

// chunk returns how many resources fit one response, at least one where there are any.
func chunk(resources []*wire.Resource) int {
	size := 0
	for i, r := range resources {
		if size += len(r.Body); size > maxResponse && i > 0 {
			return i
		}
	}
	return len(resources)
}

// emit numbers a response and sends it.
func (s *stream) emit(ctx context.Context, t *subscribed, r *response) error {
	number := int(s.serial.Add(1))
	r.typ, r.nonce = t.typ, strconv.Itoa(number)
	r.version = r.nonce
	t.nonce, t.greeted = r.nonce, true
	latest, _ := s.sub.Progress()
	out := sent{number: number, names: namesOf(r), whole: !s.wire.delta() && wildcard(t.typ), upTo: latest}
	s.status.update(t.typ, func(st *TypeStatus, p *track) {
		if !s.opening {
			out.after = p.base
		}
		st.Sent, st.SentAt = r.nonce, time.Now()
		st.Resources = max(0, t.told.size)
		p.sent(t.typ, out)
	})
	s.server.pushes.Add(ctx, int64(len(r.resources)+len(r.removed)), s.server.labels[t.typ])
	if err := s.wire.send(r); err != nil {
		return status.Errorf(codes.Unavailable, "sending %s: %v", shortType(t.typ), err)
	}
	return nil
}

func namesOf(r *response) []string {
	out := make([]string, 0, len(r.resources)+len(r.removed))
	for _, res := range r.resources {
		out = append(out, res.Name)
	}
	return append(out, r.removed...)
}

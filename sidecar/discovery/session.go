package discovery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/heddle-mesh/heddle/api/wire"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
)

// maxDetail bounds the text of a refusal, bytes.
const maxDetail = 4 << 10

// session is one stream.
type session struct {
	*Client
	stream    stream
	responses chan *ads.DeltaDiscoveryResponse
	failed    chan error
	node      *core.Node // sent with the first request only
	answered  bool
}

func (s *session) receive(ctx context.Context) {
	for {
		response, err := s.stream.Recv()
		if err != nil {
			s.failed <- err
			return
		}
		select {
		case s.responses <- response:
		case <-ctx.Done():
			s.failed <- ctx.Err()
			return
		}
	}
}

// run subscribes to what is wanted and applies what comes, a batch at a time.
func (s *session) run(ctx context.Context) error {
	go s.receive(ctx)
	if err := s.greet(); err != nil {
		return err
	}
	overdue := time.NewTicker(time.Second)
	defer overdue.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.failed:
			return fmt.Errorf("receiving: %w", err)
		case <-overdue.C:
			if err := s.giveUpWaiting(); err != nil {
				return err
			}
		case <-s.felt:
			if err := s.feel(); err != nil {
				return err
			}
		case <-s.asked:
			if err := s.ask(); err != nil {
				return err
			}
		case response := <-s.responses:
			if err := s.batch(response); err != nil {
				return err
			}
		}
	}
}

// greet opens every type, saying what is held already.
func (s *session) greet() error {
	now := time.Now()
	for _, typ := range s.options.Node.order() {
		held := s.types[typ]
		held.reopen(now)
		request := &ads.DeltaDiscoveryRequest{TypeUrl: typ, InitialResourceVersions: maps.Clone(held.versions)}
		if wildcard(typ) {
			request.ResourceNamesSubscribe = append([]string{"*"}, held.names()...)
		} else if request.ResourceNamesSubscribe = held.names(); len(request.ResourceNamesSubscribe) == 0 {
			continue
		}
		if err := s.send(request); err != nil {
			return err
		}
	}
	return s.feel()
}

// feel tells how the application is, if that is known.
func (s *session) feel() error {
	reason := s.health.Load()
	if reason == nil {
		return nil
	}
	request := &ads.DeltaDiscoveryRequest{TypeUrl: wire.TypeHealth}
	if *reason != "" {
		request.ErrorDetail = &status.Status{Code: int32(codes.Unavailable), Message: *reason}
	}
	return s.send(request)
}

// batch applies first and what follows it closely, and commits once.
func (s *session) batch(first *ads.DeltaDiscoveryResponse) error {
	defer s.options.Sink.Commit()
	if !s.answered {
		s.answered = true
		s.status.connected()
	}
	deadline := time.Now().Add(longest)
	for response := first; response != nil; {
		if err := s.handle(response); err != nil {
			return err
		}
		response = s.following(deadline)
	}
	return nil
}

// following waits a little for the next response of a batch; nil: there is none. On demand, somebody may wait for what is here already.
func (s *session) following(deadline time.Time) *ads.DeltaDiscoveryResponse {
	wait := min(quiet, time.Until(deadline))
	if wait <= 0 {
		return nil
	}
	if s.options.Node.OnDemand {
		wait = 0
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case response := <-s.responses:
		return response
	case <-timer.C:
		return nil
	}
}

// handle applies one response, answers it, and asks for what it newly refers to.
func (s *session) handle(response *ads.DeltaDiscoveryResponse) error {
	answer := &ads.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce()}
	held, known := s.types[response.GetTypeUrl()]
	if !known {
		answer.ErrorDetail = refusal(map[string]error{"*": fmt.Errorf("type %q is unknown", response.GetTypeUrl())})
		return s.send(answer)
	}
	update, refused := read(response)
	for name, err := range s.options.Sink.Apply(update) {
		refused[name] = err
	}
	for _, r := range update.Changed {
		held.answered(r.Name)
		if refused[r.Name] == nil {
			held.versions[r.Name] = r.Version
		}
	}
	for _, name := range update.Removed {
		held.answered(name)
		delete(held.versions, name)
	}
	s.status.received(response.GetTypeUrl(), response.GetSystemVersionInfo(), len(update.Changed), refused)
	if len(refused) > 0 {
		answer.ErrorDetail = refusal(refused)
		s.options.Log.Error("refused resources; their last good version stays", "type", short(update.Type), "count", len(refused),
			"reason", answer.ErrorDetail.GetMessage())
	}
	if err := s.send(answer); err != nil {
		return err
	}
	return s.subscribe(update.Type)
}

// read splits a response into what can be handed on and what is refused for its envelope alone.
func read(response *ads.DeltaDiscoveryResponse) (Update, map[string]error) {
	update, refused := Update{Type: response.GetTypeUrl(), Removed: response.GetRemovedResources()}, map[string]error{}
	for _, r := range response.GetResources() {
		if got := r.GetResource().GetTypeUrl(); got != update.Type {
			refused[r.GetName()] = fmt.Errorf("its body is of type %q", got)
			continue
		}
		update.Changed = append(update.Changed, wire.Resource{Type: update.Type, Name: r.GetName(), Version: r.GetVersion(), Body: r.GetResource().GetValue()})
	}
	return update, refused
}

// subscribe asks for the names that resources of typ refer to.
func (s *session) subscribe(typ string) error {
	if !s.options.Node.refers(typ) {
		return nil
	}
	for _, dependent := range s.options.Node.order() {
		if err := s.want(dependent); err != nil {
			return err
		}
	}
	return nil
}

// ask asks for what requests and connections wait for.
func (s *session) ask() error {
	for _, typ := range []string{wire.TypeListener, wire.TypeVirtualHost} {
		if s.types[typ] == nil {
			continue
		}
		if err := s.want(typ); err != nil {
			return err
		}
	}
	return nil
}

// want makes the names of a type that are asked for those that the sink wants.
func (s *session) want(typ string) error {
	if !s.options.Node.named(typ) {
		return nil
	}
	add, drop := s.types[typ].want(s.options.Sink.Wanted(typ), time.Now())
	if len(add)+len(drop) == 0 {
		return nil
	}
	if len(drop) > 0 {
		s.options.Sink.Apply(Update{Type: typ, Removed: drop})
	}
	return s.send(&ads.DeltaDiscoveryRequest{TypeUrl: typ, ResourceNamesSubscribe: add, ResourceNamesUnsubscribe: drop})
}

// giveUpWaiting counts names that were not answered in time as absent, so that what waits for them proceeds without.
func (s *session) giveUpWaiting() error {
	for _, typ := range s.options.Node.order() {
		if typ == wire.TypeVirtualHost || typ == wire.TypeListener {
			continue // who waits for it gives up, and must not be sent where unknown destinations go
		}
		late := s.types[typ].overdue(time.Now())
		if len(late) == 0 {
			continue
		}
		s.options.Log.Warn("no answer; going on without", "type", short(typ), "names", strings.Join(late, " "))
		s.options.Sink.Apply(Update{Type: typ, Removed: late})
		s.options.Sink.Commit()
	}
	return nil
}

func (s *session) send(request *ads.DeltaDiscoveryRequest) error {
	request.Node, s.node = s.node, nil
	if err := s.stream.Send(request); err != nil {
		return fmt.Errorf("sending a request for %s: %w", short(request.GetTypeUrl()), err)
	}
	return nil
}

// refusal names each refused resource and why.
func refusal(refused map[string]error) *status.Status {
	var text strings.Builder
	for i, name := range slices.Sorted(maps.Keys(refused)) {
		if text.Len() > maxDetail {
			fmt.Fprintf(&text, "; and %d more", len(refused)-i)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		fmt.Fprintf(&text, "%s: %v", name, refused[name])
	}
	return &status.Status{Code: int32(codes.InvalidArgument), Message: text.String()}
}

// short is a type's last word: Cluster, Listener, ...
func short(typ string) string { return typ[strings.LastIndexByte(typ, '.')+1:] }

package engine

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// unbound are the addresses that could not be bound, as of the last attempt.
type unbound []*listener.Unbound

// among joins the errors of those listeners that names has; nil: they are bound. A nil u has none.
func (u *unbound) among(names func(string) bool) error {
	if u == nil {
		return nil
	}
	var errs []error
	for _, one := range *u {
		if names(one.Listener) {
			errs = append(errs, one)
		}
	}
	return errors.Join(errs...)
}

// len is how many addresses they are.
func (u *unbound) len() int {
	if u == nil {
		return 0
	}
	return len(*u)
}

// sink takes updates from discovery to the configuration in force.
type sink struct {
	store    *config.Store
	manager  *listener.Manager
	recorder *telemetry.Recorder
	peers    *peers
	pressure *pressure
	log      *slog.Logger

	mu       sync.Mutex // dumps read the compiler
	compiler *compile.Compiler
	self     telemetry.Self

	swaps   atomic.Int64
	swapped atomic.Int64 // unix nanoseconds of the last swap
	unbound atomic.Pointer[unbound]
}

// Apply implements discovery.Sink.
func (s *sink) Apply(u discovery.Update) map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compiler.Received(time.Now())
	refused := s.compiler.Apply(u.Type, u.Changed, u.Removed)
	for _, err := range refused {
		if errors.Is(err, compile.ErrPanic) {
			s.log.Error("recovered from a panic while compiling", "err", err)
			s.recorder.Panicked()
		}
	}
	return refused
}

// Wanted implements discovery.Sink.
func (s *sink) Wanted(typ string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compiler.Wanted(typ)
}

// Commit implements discovery.Sink.
func (s *sink) Commit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellSelf()
	next, before := s.compiler.Config(), s.store.Load().Config
	if before != next {
		s.peers.set(next)
		s.store.Swap(next)
		s.pressure.swapped(next)
		s.swaps.Add(1)
		s.swapped.Store(time.Now().UnixNano())
		s.log.Debug("configuration in force", "version", next.Version, "listeners", len(next.Listeners), "clusters", len(next.Clusters))
	}
	if s.unbound.Load() != nil || !slices.Equal(before.Listeners, next.Listeners) {
		s.bind()
	}
}

// bind makes the sockets those of the configuration in force, and has open connections judged again.
func (s *sink) bind() {
	failed := unbound(s.manager.Sync())
	if len(failed) == 0 {
		s.unbound.Store(nil)
		return
	}
	all := func(string) bool { return true }
	before, now := s.unbound.Swap(&failed).among(all), failed.among(all)
	if before == nil || before.Error() != now.Error() { // it is tried again and again
		s.log.Error("not every listener could be bound", "error", now)
	}
}

// rebind tries again what could not be bound.
func (s *sink) rebind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unbound.Load() != nil {
		s.bind()
	}
}

// tellSelf names this workload to telemetry; its pointer changes only with its content.
func (s *sink) tellSelf() {
	self := s.compiler.Self()
	if self == nil || s.self.Workload != nil && *s.self.Workload == self.Workload && s.self.Identity == self.Identity {
		return
	}
	s.self = telemetry.Self{Workload: &self.Workload, Identity: self.Identity}
	s.recorder.SetSelf(s.self)
}

// dump returns the resources that the control plane sent.
func (s *sink) dump(kind string) ([]compile.Dumped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compiler.Dump(kind)
}

// versions returns them without their bodies as JSON.
func (s *sink) versions() ([]compile.Dumped, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compiler.Versions()
}

// ignored counts what was not honoured of a foreign control plane's resources.
func (s *sink) ignored() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compiler.Ignored()
}

// warming says whether a listener is still waiting for what it needs.
func (s *sink) warming() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.compiler.Warming()
}

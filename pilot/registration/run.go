package registration

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// grace is how long the entry of a machine stays that left, as in Istio: it may be on its way to another replica.
	grace = 10 * time.Second
	// orphaned is how long the entry of a machine stays whose replica is gone: nobody told its proxy, which has to notice first.
	orphaned = 30 * time.Second
	// look is how often it is looked what is due.
	look = time.Second
	// settle is how long after it was written an entry counts as there, whatever was read.
	settle = 10 * time.Second
	// call bounds a call to the API server.
	call = 10 * time.Second
)

// Run keeps the entries of machines that are connected to this replica, and removes those of machines that were, until ctx ends. What is left then is
// another replica's affair.
func (r *Registrar) Run(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	mine := func(_ context.Context, e Entry) bool { return e.Controller == r.self() && !r.holds(e.NamespacedName) }
	stale := strays{registrar: r, stray: mine, since: map[Entry]time.Time{}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			stale.pass(ctx)
		case <-r.wake:
		}
		known := r.known()
		for _, h := range r.all() {
			r.tend(ctx, h, known)
		}
	}
}

// Lead removes the entries of replicas that are gone, until ctx ends. It is to run while this replica leads.
func (r *Registrar) Lead(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	gone := strays{registrar: r, since: map[Entry]time.Time{}, stray: func(ctx context.Context, e Entry) bool {
		replica, ours := replicaOf(e.Controller)
		return ours && replica != r.Self && !r.Alive(ctx, replica)
	}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			gone.pass(ctx)
		}
	}
}

// strays are entries that nobody is connected for.
type strays struct {
	registrar *Registrar
	stray     func(context.Context, Entry) bool
	since     map[Entry]time.Time // when each was first seen to be one
}

// pass removes those that have been so for long enough.
func (s *strays) pass(ctx context.Context) {
	seen := map[Entry]time.Time{}
	now := time.Now()
	for _, e := range s.registrar.Entries() {
		if !s.stray(ctx, e) {
			continue
		}
		first, known := s.since[e]
		if !known {
			first = now
		}
		seen[e] = first
		if now.Sub(first) < orphaned {
			continue
		}
		short, cancel := context.WithTimeout(ctx, call)
		err := s.registrar.remove(short, e)
		cancel()
		if err != nil {
			s.registrar.Log.Warn("the WorkloadEntry of a machine that left stays", "entry", e.String(), "err", err)
			continue
		}
		s.registrar.Log.Info("removed the WorkloadEntry of a machine whose replica is gone", "entry", e.String(), "replica", e.Controller)
	}
	s.since = seen
}

func (r *Registrar) holds(name types.NamespacedName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[name] != nil
}

func (r *Registrar) all() []*held {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*held, 0, len(r.held))
	for _, h := range r.held {
		out = append(out, h)
	}
	return out
}

func (r *Registrar) known() map[types.NamespacedName]bool {
	out := map[types.NamespacedName]bool{}
	for _, e := range r.Entries() {
		out[e.NamespacedName] = true
	}
	return out
}

// tend does what is due about one machine.
func (r *Registrar) tend(ctx context.Context, h *held, known map[types.NamespacedName]bool) {
	if !h.writing.TryLock() {
		return // it is being registered: the next look will do
	}
	defer h.writing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, call)
	defer cancel()
	r.mu.Lock()
	streams, left, health := h.streams, h.left, h.health
	r.mu.Unlock()
	var err error
	switch {
	case streams == 0 && (h.since == "" || time.Since(left) >= grace):
		if h.since != "" {
			err = r.remove(ctx, h.entry(r))
		}
		if err == nil {
			r.forget(h)
		}
	case streams == 0:
	case !known[h.name] && time.Since(h.at) >= settle:
		err = r.again(ctx, h)
	case health != nil && h.group.Probed && (h.told == nil || *h.told != *health):
		if err = r.tell(ctx, h, *health); err == nil {
			h.told = health
		}
	}
	if err != nil {
		r.Log.Warn("a machine's WorkloadEntry is not as it should be", "entry", h.name.String(), "err", err)
	}
}

// forget ends with a machine, unless it came back meanwhile: then who registers it waits to write it anew.
func (r *Registrar) forget(h *held) {
	h.since = ""
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.streams == 0 {
		delete(r.held, h.name)
	}
}

// again writes an entry that somebody removed, where the machine may still have one.
func (r *Registrar) again(ctx context.Context, h *held) error {
	group, err := r.judge(Claim{Group: h.group.NamespacedName, Account: h.group.Account, Address: h.address})
	h.at = time.Now() // whatever comes of it, not at once again
	if err != nil {
		return err
	}
	h.group = *group
	return r.write(ctx, h)
}

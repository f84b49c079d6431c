package discovery

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Client is one connected proxy, for people.
type Client struct {
	Node      Node                  `json:"node"`
	Namespace string                `json:"namespace"`
	Pod       string                `json:"pod"`
	Identity  string                `json:"identity"`
	Since     time.Time             `json:"since"`
	Delta     bool                  `json:"delta"`
	Skew      string                `json:"skew,omitempty"` // of a dialect that is not generated for: what becomes of the proxy
	Types     map[string]TypeStatus `json:"types"`          // by type URL
}

// TypeStatus is how far a proxy got with one type.
type TypeStatus struct {
	Sent      string    `json:"sent,omitempty"`  // version of the last response; "": none was asked for, or there was nothing to send
	Acked     string    `json:"acked,omitempty"` // version that the proxy last accepted
	Pending   int       `json:"pending"`         // resources that were sent, and neither accepted nor refused yet
	SentAt    time.Time `json:"sentAt,omitzero"`
	AckedAt   time.Time `json:"ackedAt,omitzero"`
	Resources int       `json:"resources"`         // that the proxy holds
	Error     string    `json:"error,omitempty"`   // why it refused what it was not sent better since
	Missing   []string  `json:"missing,omitempty"` // names that it asks for and that cannot be sent: Secrets
	Refused   int       `json:"refused"`           // how many responses it refused
}

// Synced reports whether the proxy accepted all that it was sent.
func (t TypeStatus) Synced() bool { return t.Error == "" && t.Sent == t.Acked }

// roster is the connected proxies.
type roster struct {
	mu   sync.Mutex
	next int
	in   map[int]*entry
}

// entry is one stream's status.
type entry struct {
	mu     sync.Mutex
	client Client
	track  track
	sub    Subscription
}

func newRoster() *roster { return &roster{in: map[int]*entry{}} }

// enter adds a stream; the function returned removes it.
func (r *roster) enter(c Client, sub Subscription) (*entry, func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.next
	r.next++
	e := &entry{client: c, sub: sub}
	e.client.Types = map[string]TypeStatus{}
	r.in[id] = e
	return e, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.in, id)
	}
}

// update changes one type's status, and what is known of the proxy's progress.
func (e *entry) update(typ string, change func(*TypeStatus, *track)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.client.Types[typ]
	change(&t, &e.track)
	t.Pending, t.Error = e.track.pending(typ), e.track.errors(typ)
	e.client.Types[typ] = t
}

// knows reports whether the stream has a type.
func (e *entry) knows(typ string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, has := e.client.Types[typ]
	return has
}

// note changes what is known of the proxy's progress.
func (e *entry) note(change func(*track)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.track)
}

func (e *entry) copy() Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.client
	c.Types = maps.Clone(c.Types)
	return c
}

func (r *roster) entries() []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.in))
}

// Clients returns the connected proxies, by node id.
func (s *Server) Clients() []Client {
	var out []Client
	for _, e := range s.roster.entries() {
		out = append(out, e.copy())
	}
	slices.SortFunc(out, func(a, b Client) int { return compareNames(a.Node.ID, b.Node.ID) })
	return out
}

// ViewOf returns what a connected proxy, given as pod.namespace or node id, may know now, or nil.
func (s *Server) ViewOf(proxy string) View {
	for _, e := range s.roster.entries() {
		if c := e.copy(); c.Node.ID == proxy || c.Pod+"."+c.Namespace == proxy {
			return e.sub.View()
		}
	}
	return nil
}

package discovery

import (
	"maps"
	"sync"
	"time"
)

// Status says how discovery stands. It is a copy.
type Status struct {
	Connected  bool                  `json:"connected"`
	Since      time.Time             `json:"since"`       // of Connected
	LastUpdate time.Time             `json:"last_update"` // zero: nothing was received yet
	Version    string                `json:"version"`     // the control plane's version of the last response
	LastError  string                `json:"last_error"`  // why the last stream ended
	Types      map[string]TypeStatus `json:"types"`
}

// TypeStatus counts one type's traffic, keyed in Status by the type's last word.
type TypeStatus struct {
	Responses int64             `json:"responses"`
	Resources int64             `json:"resources"`
	Refusals  int64             `json:"refusals"` // responses that were answered with a NACK
	Refused   map[string]string `json:"refused"`  // resources whose last version was refused, and why
}

type statusBox struct {
	mu sync.Mutex
	s  Status
}

// Status returns how discovery stands.
func (c *Client) Status() Status {
	c.status.mu.Lock()
	defer c.status.mu.Unlock()
	out := c.status.s
	out.Types = make(map[string]TypeStatus, len(c.status.s.Types))
	for name, t := range c.status.s.Types {
		t.Refused = maps.Clone(t.Refused)
		out.Types[name] = t
	}
	return out
}

func (b *statusBox) connected() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.Connected, b.s.Since, b.s.LastError = true, time.Now(), ""
}

func (b *statusBox) disconnected(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s.Connected {
		b.s.Connected, b.s.Since = false, time.Now()
	}
	if err != nil {
		b.s.LastError = err.Error()
	}
}

func (b *statusBox) received(typ, version string, resources int, refused map[string]error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.LastUpdate, b.s.Version = time.Now(), version
	if b.s.Types == nil {
		b.s.Types = map[string]TypeStatus{}
	}
	t := b.s.Types[short(typ)]
	t.Responses++
	t.Resources += int64(resources)
	if len(refused) > 0 {
		t.Refusals++
	}
	t.Refused = map[string]string{}
	for name, err := range refused {
		t.Refused[name] = err.Error()
	}
	b.s.Types[short(typ)] = t
}

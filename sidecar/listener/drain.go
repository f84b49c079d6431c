package listener

import (
	"sync"
	"sync/atomic"
)

// Drain tells sessions to finish: HTTP/1 answers with connection: close, HTTP/2 sends GOAWAY, TCP is left alone until it is
// cut. Reading it costs one atomic load.
type Drain struct {
	begun atomic.Bool
	once  sync.Once
	ch    chan struct{}
}

// NewDrain returns a drain that has not begun.
func NewDrain() *Drain { return &Drain{ch: make(chan struct{})} }

// Begin begins it; more calls do nothing.
func (d *Drain) Begin() {
	d.once.Do(func() {
		d.begun.Store(true)
		close(d.ch)
	})
}

// Begun says whether it has begun.
func (d *Drain) Begun() bool { return d.begun.Load() }

// Done returns a channel that closes when it begins.
func (d *Drain) Done() <-chan struct{} { return d.ch }

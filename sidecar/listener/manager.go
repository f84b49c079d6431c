package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Options are what a Manager needs from outside.
type Options struct {
	Store    *config.Store
	Servers  Servers
	Recorder exchange.Recorder
	Log      *slog.Logger
	// Listen opens sockets; where its error is net.ErrClosed no more are to be opened, and those that are open stay. Nil: net.Listen.
	Listen func(network, address string) (net.Listener, error)
	// Handshake bounds TLS handshakes; 0: 15 s.
	Handshake time.Duration
	// Demands asks for listeners, where they are on demand. Nil: connections that need one are refused.
	Demands config.Demands
	Hold    time.Duration // at most, of such a connection; 0: config.Hold
	// MaxConnections over all listeners, and how many of them one listener may accept; 0: unlimited.
	MaxConnections int64
	PerListener    int
}

// Manager keeps the sockets that the configuration in force wants, and the connections accepted on them.
type Manager struct {
	opts    Options
	drains  map[exchange.Direction]*Drain
	nextID  atomic.Uint64
	open    atomic.Int64
	over    atomic.Int64 // connections beyond a cap that are being refused
	handoff atomic.Pointer[handoff]

	mu       sync.Mutex
	sockets  map[string]*socket
	sessions map[*session]struct{}
	counts   map[string]int // sessions by the listener that accepted them
	closed   bool
	wg       sync.WaitGroup
}

// socket is one listening address and the listener that it is for.
type socket struct {
	net.Listener
	name atomic.Pointer[string]
}

// New returns a Manager without sockets.
func New(o Options) *Manager {
	if o.Listen == nil {
		o.Listen = net.Listen
	}
	if o.Handshake == 0 {
		o.Handshake = 15 * time.Second
	}
	if o.Hold == 0 {
		o.Hold = config.Hold
	}
	return &Manager{
		opts:     o,
		drains:   map[exchange.Direction]*Drain{exchange.Inbound: NewDrain(), exchange.Outbound: NewDrain()},
		sockets:  map[string]*socket{},
		sessions: map[*session]struct{}{},
		counts:   map[string]int{},
	}
}

// Unbound is one address of a listener that cannot be bound.
type Unbound struct {
	Listener string
	Err      error
}

// Error implements error.
func (u *Unbound) Error() string { return fmt.Sprintf("binding listener %q: %v", u.Listener, u.Err) }

// Unwrap returns what the system says.
func (u *Unbound) Unwrap() error { return u.Err }

// Sync makes the sockets those of the configuration in force, and judges open connections again; call it after each
// Store.Swap. Addresses that cannot be bound are returned, in the same order each time; all others are served.
func (m *Manager) Sync() []*Unbound {
	live := m.opts.Store.Load()
	want := map[string]*config.Listener{}
	for _, l := range live.Listeners {
		if l.NoBind {
			continue
		}
		for _, a := range l.Binds {
			want["tcp "+a.String()] = l
		}
		if l.Path != "" {
			want["unix "+l.Path] = l
		}
	}
	m.mu.Lock()
	var unbound []*Unbound
	for key, s := range m.sockets {
		if want[key] == nil {
			_ = s.Close()
			delete(m.sockets, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if err := m.bind(key, want[key]); err != nil {
			unbound = append(unbound, &Unbound{Listener: want[key].Name, Err: err})
		}
	}
	m.mu.Unlock()
	m.judge(live)
	return unbound
}

// bind opens a socket, or gives one that is open to another listener; m.mu is held.
func (m *Manager) bind(key string, l *config.Listener) error {
	if m.closed {
		return nil
	}
	if s := m.sockets[key]; s != nil {
		s.name.Store(&l.Name)
		return nil
	}
	network, address := key[:len(key)-len(key[indexSpace(key):])], key[indexSpace(key)+1:]
	if network == "tcp" {
		network = family(netip.MustParseAddrPort(address))
	}
	ln, err := m.opts.Listen(network, address)
	if errors.Is(err, net.ErrClosed) {
		return nil // whoever took over opens it
	}
	if err != nil {
		return err
	}
	s := &socket{Listener: ln}
	s.name.Store(&l.Name)
	m.sockets[key] = s
	m.wg.Go(func() { m.accept(s) })
	return nil
}

func indexSpace(s string) int {
	for i := range len(s) {
		if s[i] == ' ' {
			return i
		}
	}
	return len(s)
}

// family keeps 0.0.0.0 from taking IPv6 as well, so that both can be bound side by side.
func family(a netip.AddrPort) string {
	if a.Addr().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// accept hands each connection to a goroutine of its own until the socket closes.
func (m *Manager) accept(s *socket) {
	for {
		c, err := s.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely: give some time to get back
			m.opts.Log.Warn("accepting a connection", "listener", *s.name.Load(), "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		name := *s.name.Load()
		if n := m.open.Add(1); m.opts.MaxConnections > 0 && n > m.opts.MaxConnections {
			m.open.Add(-1)
			go m.crowded(c, name)
			continue
		}
		go m.serve(c, name)
	}
}

// Addr returns the bound address of a listener, nil where it has none.
func (m *Manager) Addr(name string) net.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sockets {
		if *s.name.Load() == name {
			return s.Addr()
		}
	}
	return nil
}

// Open returns how many connections are open.
func (m *Manager) Open() int64 { return m.open.Load() }

// Count returns how many sessions of a direction are open, and how many of them are in the middle of something.
func (m *Manager) Count(d exchange.Direction) (open, busy int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.sessions {
		if s.direction != d {
			continue
		}
		open++
		if !s.idle.Load() {
			busy++
		}
	}
	return open, busy
}

// Drain asks sessions of a direction to finish: HTTP clients are told to go with their next response. Connections are
// accepted all the same until Shutdown.
func (m *Manager) Drain(d exchange.Direction) { m.drains[d].Begin() }

// Shutdown closes all sockets, ends idle sessions, waits for the others until ctx does, and then cuts those that are left. It returns how
// many it cut.
func (m *Manager) Shutdown(ctx context.Context) int {
	m.Drain(exchange.Inbound)
	m.Drain(exchange.Outbound)
	m.mu.Lock()
	m.closed = true
	for key, s := range m.sockets {
		_ = s.Close()
		delete(m.sockets, key)
	}
	m.mu.Unlock()
	m.wg.Wait()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for m.open.Load() > 0 {
		m.endIdle()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return m.cut()
		}
	}
	return 0
}

// endIdle ends sessions that nobody uses.
func (m *Manager) endIdle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.sessions {
		if s.idle.Load() {
			s.end(exchange.Drained)
		}
	}
}

func (m *Manager) cut() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.sessions {
		s.end(exchange.Drained)
	}
	return len(m.sessions)
}

// judge asks again, for each open connection, whether the configuration in force would let it in. Those that it would
// not are cut; a listener that is gone cuts nothing.
func (m *Manager) judge(live *config.Live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.sessions {
		if s.revoked(live) {
			s.end(exchange.Revoked)
		}
	}
}

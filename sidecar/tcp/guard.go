package tcp

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// looks is how many looks in a row must find that nothing moves before a relay counts as idle: a machine that stands still for a while is looked
// at once after it.
const looks = 4

// guard ends a relay on which nothing moves for its idle timeout, or one of whose destinations takes nothing of what is there for it. What the
// kernel still delivers moves: a write that has been done says nothing of when the other side takes its last byte, and one that takes long nothing
// of where it is.
type guard struct {
	r     *relay
	lanes [2]*lane
	ends  [2]socket // of the lanes' destinations
	every time.Duration

	mu    sync.Mutex // of what follows
	timer *time.Timer
	over  bool
	seen  sight
	still int    // looks that found nothing moved
	stuck [2]int // looks that found a lane in the same write, nothing of which was taken
}

// sight is what one look sees. Equal sights: nothing has moved.
type sight struct {
	received, sent int64     // by the relay
	turns          [2]uint64 // of the lanes
	ends           [2]delivery
}

// delivery is how far the kernel is with a socket, bytes.
type delivery struct {
	acked, received uint64 // by the other side, from it: of TCP
	queued          int    // not taken yet by the other side
}

// watch begins to guard the relay.
func (r *relay) watch(lanes [2]*lane) *guard {
	g := &guard{r: r, lanes: lanes, every: max(r.idle/looks, time.Millisecond)}
	for i, l := range lanes {
		g.ends[i] = socketOf(l.dst)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = g.look()
	g.timer = time.AfterFunc(g.every, g.tick)
	return g
}

// stop ends the guard: it does nothing to the relay from here on.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	g.timer.Stop()
}

func (g *guard) tick() {
	defer g.r.recovered()
	if g.idle() {
		g.r.cut()
	}
}

// idle looks, and says whether the relay has been idle for too long; else there will be another look.
func (g *guard) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over {
		return false
	}
	old, now := g.seen, g.look()
	g.seen = now
	if g.still++; now != old {
		g.still = 0
	}
	over := g.still >= looks
	for i := range g.lanes {
		if g.stuck[i]++; !writing(now.turns[i]) || now.turns[i] != old.turns[i] || now.ends[i].taken() != old.ends[i].taken() {
			g.stuck[i] = 0
		}
		over = over || g.stuck[i] >= looks
	}
	if g.over = over; over {
		g.r.end(exchange.SessionIdle)
	} else {
		g.timer.Reset(g.every)
	}
	return over
}

func (g *guard) look() sight {
	s := sight{received: g.r.received.Load(), sent: g.r.sent.Load()}
	for i, l := range g.lanes {
		s.turns[i], s.ends[i] = l.turn.Load(), g.ends[i].delivery()
	}
	return s
}

// taken is what the other side has taken, as far as that shows.
func (d delivery) taken() delivery { return delivery{acked: d.acked, queued: d.queued} }

// socket is the descriptor of a connection; nil: nothing is known of it.
type socket struct{ raw syscall.RawConn }

// socketOf finds the socket below TLS and whatever else wraps it.
func socketOf(c net.Conn) socket {
	if s, ok := below(c).(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return socket{raw}
		}
	}
	return socket{}
}

// below is the connection that c wraps, or itself.
func below(c net.Conn) net.Conn {
	for {
		within, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = within.NetConn()
	}
}

// delivery asks the kernel; nothing of a socket that is closed.
func (s socket) delivery() (d delivery) {
	if s.raw == nil {
		return d
	}
	_ = s.raw.Control(func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ); err == nil {
			d.queued = n
		}
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			d.acked, d.received = info.Bytes_acked, info.Bytes_received
		}
	})
	return d
}

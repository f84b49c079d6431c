package tcp

import (
	"context"
	"net"
	"runtime/debug"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/listener"
)

// word is the first thing that one side says; empty where it has ended, or was told to stop listening.
type word []byte

// hear reads the first word of a connection in a goroutine of its own.
func hear(c net.Conn) <-chan word {
	heard := make(chan word, 1)
	go func() {
		buf := make([]byte, 4<<10)
		n, _ := c.Read(buf) // an end or a failure comes again when the relay reads
		heard <- buf[:n]
	}()
	return heard
}

// hush ends a hear, unless it has heard something, and makes the connection fit for reading again.
func hush(c net.Conn, heard <-chan word) word {
	_ = c.SetReadDeadline(past)
	w := <-heard
	_ = c.SetReadDeadline(time.Time{})
	return w
}

// attempt is what ahead has under way.
type attempt struct {
	sess   *listener.Session
	dial   <-chan dialled
	cancel context.CancelFunc
}

// ahead dials for a client that has said nothing, and waits for whoever speaks first. The upstream: the chain stays. The
// client: its first words decide; with them it may belong elsewhere, and false says that it has been served there. A
// dial that fails proves nothing before the client has spoken.
func (s *Server) ahead(sess *listener.Session, b *config.Bound) (dialled, bool) {
	ctx, cancel := context.WithCancel(context.Background())
	dial := make(chan dialled, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				s.opts.Log.Error("recovered from a panic while dialling ahead", "panic", v, "stack", string(debug.Stack()))
				s.opts.Recorder.Panicked()
				dial <- dialled{outcome: exchange.Panicked}
			}
		}()
		dial <- s.dial(ctx, sess.Facts, b)
	}()
	a := &attempt{sess, dial, cancel}
	client := hear(sess.Conn)
	select {
	case w := <-client:
		return a.decide(w)
	case d := <-dial:
		again := make(chan dialled, 1)
		a.dial = again
		if d.outcome == exchange.OK {
			upstream := hear(d.conn)
			select {
			case d.said = <-upstream: // or it has ended
				sess.Peeked = hush(sess.Conn, client)
				return d, true
			case w := <-client:
				if d.said = hush(d.conn, upstream); len(d.said) > 0 {
					sess.Peeked = w
					return d, true
				}
				again <- d
				return a.decide(w)
			}
		}
		again <- d
		return a.decide(<-client)
	}
}

// decide lets the listener choose again by the client's first words.
func (a *attempt) decide(w word) (dialled, bool) {
	if len(w) > 0 {
		elsewhere, read := a.sess.Reconsider(w)
		if elsewhere != nil {
			a.cancel()
			go func() {
				if d := <-a.dial; d.conn != nil {
					d.conn.Release()
				}
			}()
			elsewhere()
			return dialled{}, false
		}
		w = read
	}
	a.sess.Peeked = w
	return <-a.dial, true
}

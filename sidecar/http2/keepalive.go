package http2

import (
	"math/rand/v2"
	"time"

	"golang.org/x/net/http2"
)

// keepalivePing is what keepalive PINGs carry, so that answers to others do not count.
const keepalivePing = "stillthr"

// asker is a connection's state of asking whether its peer is still there.
type asker struct {
	timer *time.Timer
	asked bool
	heard int64 // conn.got when it last looked
}

// keepAlive begins to ask, if the connection is to.
func (cc *clientConn) keepAlive() {
	if cc.info.Keepalive.Interval <= 0 {
		return
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.asker.timer = time.AfterFunc(cc.jittered(), cc.ask)
}

// jittered is the time until the next question: the interval and up to 15 % of it, as in Envoy.
func (cc *clientConn) jittered() time.Duration {
	d := cc.info.Keepalive.Interval
	return d + time.Duration(rand.Float64()*0.15*float64(d))
}

// ask sends a PING, or ends the connection if the last one was not answered. Whatever else came meanwhile gains it time: the answer may be queued
// behind other frames.
func (cc *clientConn) ask() {
	defer cc.guard()
	cc.mu.Lock()
	defer cc.mu.Unlock()
	a := &cc.asker
	switch {
	case cc.cause != nil:
		return
	case !a.asked:
		a.asked = true
		b := cc.buf()
		*b = appendPing(*b, [8]byte([]byte(keepalivePing)), false)
		cc.wake()
	case cc.got == a.heard:
		cc.die(http2.ErrCodeNo, "no answer to ping", errSilent)
		cc.shut()
		return
	}
	a.heard = cc.got
	a.timer.Reset(cc.info.Keepalive.Timeout)
}

// pong takes the answer to a PING.
func (cc *clientConn) pong(data [8]byte) {
	if a := &cc.asker; a.asked && string(data[:]) == keepalivePing {
		a.asked = false
		a.timer.Reset(cc.jittered())
	}
}

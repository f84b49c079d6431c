package http2

import (
	"time"

	"golang.org/x/net/http2"
)

// What this side grants its peer, and what it puts up with. Sizes are in bytes.
const (
	frameSize      = 16 << 10  // largest frame we accept: the protocol's smallest allowed value, which is also a chunk
	streamWindow   = 256 << 10 // unread bytes of one stream
	clientWindow   = 16 << 20  // unread bytes of all streams of a client
	serverWindow   = 258 << 20 // the same of an upstream, whose connection many clients share: 1024 slow ones, as many as there are (package upstream), cannot fill it
	creditStep     = 1 << 20   // read by streams before the connection's window is renewed
	defaultStreams = 1000      // concurrent streams that a client may open
	defaultHead    = 60 << 10  // decoded size of a header list, as RFC 9113 counts it
	defaultFields  = 100       // fields in a header list

	maxQueued    = 64 << 10 // bytes waiting to be written before bodies and heads wait as well
	pieceSize    = 16 << 10 // bytes that TLS, whose writes cannot be gone on with, must take within one deadline: a record
	maxBacklog   = 1 << 20  // bytes waiting before the peer counts as one that only asks and never reads
	graceFrames  = 4        // WINDOW_UPDATEs and PINGs that answer one DATA frame of ours
	maxGrace     = 10_000
	maxInterim   = 8   // unread 1xx heads that are kept
	firstSlots   = 100 // streams opened before the peer has said how many it allows
	lastStreamID = 1<<31 - 1

	handshakeTimeout = 10 * time.Second // for the preface, and for the rest of a header block once it has begun
	upstreamStall    = time.Minute      // an upstream whose socket takes no byte, or no piece in TLS, for so long is dead
	pressedStall     = time.Minute      // whoever takes nothing for so long is given up where memory is full
	silence          = time.Minute      // an upstream's kernel is asked after so long whether it is still there: PINGs would be counted by servers
	unheard          = 90 * time.Second // and is gone where it has said nothing, or acknowledged nothing that was sent, for so long
	lingering        = 250 * time.Millisecond
	farewell         = time.Second // between the two GOAWAYs of a graceful end
	defaultIdle      = time.Hour
	tick             = 30 * time.Second
	hasty            = 20 * time.Millisecond // a stream reset within counts as opened for nothing
)

// limits are what one connection grants and bears.
type limits struct {
	streams uint32        // concurrent streams of the peer's; 0 on the client side
	head    int           // bytes of a header list
	fields  int           // fields of a header list
	window  int64         // unread bytes of all streams
	idle    time.Duration // without a stream; 0: for ever
	block   time.Duration // for a header block to be complete
	stall   time.Duration // the peer's socket takes nothing for so long, or half as much longer; 0: for ever
}

func (l limits) settings(client bool) []http2.Setting {
	s := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(l.head)},
	}
	if client {
		return append(s, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	}
	return append(s, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: l.streams}, connectable())
}

// bucket is an allowance for frames that cost us work and bring nothing: it refills with time and with useful frames.
type bucket struct {
	tokens, size, perSecond int
	last                    time.Time
}

func newBucket(size, perSecond int) bucket {
	return bucket{tokens: size, size: size, perSecond: perSecond}
}

// spend takes n tokens; false where the allowance is used up. now is asked only then.
func (b *bucket) spend(n int, now func() time.Time) bool {
	if b.tokens -= n; b.tokens >= 0 {
		return true
	}
	t := now()
	if !b.last.IsZero() {
		b.earn(int(min(t.Sub(b.last), time.Minute).Seconds() * float64(b.perSecond)))
	} else {
		b.earn(b.size)
	}
	b.last = t
	return b.tokens >= 0
}

// earn gives n tokens back.
func (b *bucket) earn(n int) { b.tokens = min(b.tokens+n, b.size) }

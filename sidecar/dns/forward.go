package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// overall is how long the servers together may take for one question, as in Istio.
	overall = 5 * time.Second
	// perTry is how long one server is waited for before the next is asked.
	perTry = 2 * time.Second
	// rounds is how often each server is asked at most.
	rounds = 2
	// maxForwards bounds the questions that wait for servers.
	maxForwards = 512
)

var (
	errBusy     = errors.New("too many questions are waiting")
	errMismatch = errors.New("the answer is to another question")
	// errUnfinished is what others that wait learn of a question whose sender failed.
	errUnfinished = errors.New("asking ended without an answer")
)

// counters are what an Engine exports.
type counters struct {
	requests, lookups, fromTable, fromCache, malformed, refused, forwarded, failures atomic.Int64
}

// Stats are what was done since the start.
type Stats struct {
	Requests  int64 // all of the pod that arrived, malformed ones too
	Lookups   int64 // questions of this process itself, answered
	FromTable int64 // answered with the mesh's names
	FromCache int64
	Malformed int64
	Refused   int64 // not forwarded, as too many were waiting
	Forwarded int64 // questions sent to servers, each try
	Failures  int64 // tries without an answer
	Cached    int   // answers that are remembered
}

// Forwarder asks the pod's own servers and remembers what they say.
type Forwarder struct {
	servers []netip.AddrPort
	dialer  Dialer
	cache   *cache
	slots   chan struct{}
	now     func() time.Time
	counters

	mu      sync.Mutex
	flights map[cacheKey]*flight
}

// flight is a question that was sent and not answered yet.
type flight struct {
	done  chan struct{} // closed once reply and err are there
	reply []byte
	err   error
}

// Dialer opens connections to servers; *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// NewForwarder returns a forwarder to servers, which are asked in order.
func NewForwarder(servers []netip.AddrPort, dialer Dialer) *Forwarder {
	return &Forwarder{servers: servers, dialer: dialer, cache: newCache(), slots: make(chan struct{}, maxForwards), now: time.Now,
		flights: map[cacheKey]*flight{}}
}

// Stats tells what was done.
func (f *Forwarder) Stats() Stats {
	return Stats{
		Requests: f.requests.Load(), Lookups: f.lookups.Load(), FromTable: f.fromTable.Load(), FromCache: f.fromCache.Load(), Malformed: f.malformed.Load(),
		Refused: f.refused.Load(), Forwarded: f.forwarded.Load(), Failures: f.failures.Load(), Cached: f.cache.len(),
	}
}

// remembered answers from the cache, or nil; turn rotates its addresses.
func (f *Forwarder) remembered(q *query, turn uint32) []byte {
	reply := f.cache.get(q, f.now(), turn)
	if reply != nil {
		f.fromCache.Add(1)
	}
	return reply
}

// forward asks the servers. Equal questions at one time are asked once.
func (f *Forwarder) forward(ctx context.Context, q *query) ([]byte, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		f.refused.Add(1)
		return nil, errBusy
	}
	if q.options {
		reply, err := f.exchange(ctx, q)
		return q.own(reply), err
	}
	f.mu.Lock()
	first := f.flights[q.key()]
	if first == nil {
		mine := &flight{done: make(chan struct{})}
		f.flights[q.key()] = mine
		f.mu.Unlock()
		defer f.land(q, mine)
		mine.err = errUnfinished
		mine.reply, mine.err = f.exchange(ctx, q)
		return q.own(mine.reply), mine.err
	}
	f.mu.Unlock()
	select {
	case <-first.done:
		return q.own(first.reply), first.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// land ends a flight, remembering its answer before the next equal question could be sent.
func (f *Forwarder) land(q *query, mine *flight) {
	if mine.err == nil {
		f.cache.put(q, mine.reply, f.now())
	}
	f.mu.Lock()
	delete(f.flights, q.key())
	f.mu.Unlock()
	close(mine.done)
}

// own returns a copy of an answer with the identifier and the spelling of q.
func (q *query) own(reply []byte) []byte {
	if reply == nil {
		return nil
	}
	out := slices.Clone(reply)
	q.readdress(out)
	return out
}

// exchange asks the servers, one after the other, until one has an answer. One that says that it failed (SERVFAIL) or will not (REFUSED) is
// believed only where no other says better.
func (f *Forwarder) exchange(ctx context.Context, q *query) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, overall)
	defer cancel()
	err := errors.New("there are no servers")
	for range rounds {
		var poor []byte
		for _, server := range f.servers {
			if ctx.Err() != nil {
				break
			}
			var reply []byte
			if reply, err = f.try(ctx, server, q); err != nil {
				f.failures.Add(1)
				continue
			}
			if code := dnsmessage.RCode(reply[3] & 0xF); code != dnsmessage.RCodeServerFailure && code != dnsmessage.RCodeRefused {
				return reply, nil
			}
			poor = reply
		}
		if poor != nil {
			return poor, nil
		}
	}
	return nil, fmt.Errorf("asking %d servers: %w", len(f.servers), err)
}

// try asks one server: over UDP, and over TCP where the answer does not fit.
func (f *Forwarder) try(ctx context.Context, server netip.AddrPort, q *query) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, perTry)
	defer cancel()
	reply, err := f.ask(ctx, "udp", server, q)
	if err != nil || reply[2]&0x02 == 0 {
		return reply, err
	}
	if whole, err := f.ask(ctx, "tcp", server, q); err == nil {
		return whole, nil
	}
	return reply, nil // the client will see that it is cut
}

// ask sends the question as it is, but for an identifier that nobody can foresee, and waits for the answer to it.
func (f *Forwarder) ask(ctx context.Context, network string, server netip.AddrPort, q *query) ([]byte, error) {
	f.forwarded.Add(1)
	conn, err := f.dialer.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, fmt.Errorf("setting a deadline: %w", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // a cancelled question waits no longer
	defer stop()
	asked := append(make([]byte, 2, 2+len(q.raw)), q.raw...)
	binary.BigEndian.PutUint16(asked, uint16(len(q.raw)))
	binary.BigEndian.PutUint16(asked[2:], uint16(rand.Uint32()))
	if network == "udp" {
		asked = asked[2:]
	}
	if _, err := conn.Write(asked); err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	if network == "udp" {
		return readDatagram(conn, q, asked)
	}
	reply, err := readMessage(conn)
	if err == nil && !q.answeredBy(reply, asked[2:]) {
		err = errMismatch
	}
	return reply, err
}

// readDatagram waits for an answer; others that come are somebody's guesses, or late.
func readDatagram(conn net.Conn, q *query, asked []byte) ([]byte, error) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("waiting for an answer: %w", err)
		}
		if q.answeredBy(buf[:n], asked) {
			return buf[:n], nil
		}
	}
}

// answeredBy says whether reply is the answer to what was asked, which is q with another identifier.
func (q *query) answeredBy(reply, asked []byte) bool {
	if len(reply) < q.end || reply[2]&0x80 == 0 || !bytes.Equal(reply[:2], asked[:2]) || binary.BigEndian.Uint16(reply[4:]) != 1 {
		return false
	}
	return equalFold(reply[headerSize:q.end], asked[headerSize:q.end])
}

// equalFold compares questions: names are equal whatever the case of their letters, types and classes are numbers.
func equalFold(a, b []byte) bool {
	at := len(a) - 4
	return bytes.EqualFold(a[:at], b[:at]) && bytes.Equal(a[at:], b[at:])
}

// readMessage reads one message of a stream (RFC 1035, section 4.2.2).
func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("reading a length: %w", err)
	}
	out := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, fmt.Errorf("reading a message: %w", err)
	}
	return out, nil
}

// writeMessage writes one message of a stream.
func writeMessage(w io.Writer, msg []byte) error {
	out := append(make([]byte, 2, 2+len(msg)), msg...)
	binary.BigEndian.PutUint16(out, uint16(len(msg)))
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing a message: %w", err)
	}
	return nil
}

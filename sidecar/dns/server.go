package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/sidecar/dns/names"
	"github.com/heddle-mesh/heddle/sidecar/takeover"
)

const (
	// idle is how long a connection may be silent.
	idle = 30 * time.Second
	// maxConns bounds the connections of clients.
	maxConns = 128
)

// Options of a Server.
type Options struct {
	Addresses []netip.AddrPort    // where to answer, over UDP and TCP; those of a family that the host lacks are left out
	Table     func() *names.Table // nil: the mesh has not told of its names yet
	Search    string              // the first domain of the pod's search path, "": none
	Forwarder *Forwarder
	Sockets   *takeover.Sockets // nil: they are opened
	Log       *slog.Logger
	// Recovered is told of what a question set off that must not end the proxy.
	Recovered func(v any)
}

// Server answers the pod's questions.
type Server struct {
	options Options
	*Forwarder
	conns chan struct{}
	open  sync.WaitGroup
}

// NewServer returns a server that listens nowhere yet.
func NewServer(o Options) *Server {
	return &Server{options: o, Forwarder: o.Forwarder, conns: make(chan struct{}, maxConns)}
}

// Run answers until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.open.Wait()
	defer cancel()
	sockets := 0
	for _, at := range s.options.Addresses {
		err := s.listen(ctx, at)
		switch {
		case err == nil:
			sockets++
		case noFamily(err):
		default:
			return fmt.Errorf("listening for DNS at %s: %w", at, err)
		}
	}
	if sockets == 0 {
		return errors.New("listening for DNS: the host has none of the addresses")
	}
	<-ctx.Done()
	return nil
}

// noFamily says that the host has no addresses of a family.
func noFamily(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// listen answers at one address until ctx ends.
func (s *Server) listen(ctx context.Context, at netip.AddrPort) error {
	socket, err := s.options.Sockets.ListenUDP(at)
	if err != nil {
		return err
	}
	l, err := s.options.Sockets.Listen("tcp", at.String())
	if err != nil {
		socket.Close()
		return err
	}
	context.AfterFunc(ctx, func() { socket.Close(); l.Close() })
	s.open.Go(func() { s.datagrams(ctx, socket) })
	s.open.Go(func() { s.accept(ctx, l) })
	return nil
}

// datagrams answers what comes over UDP: at once what is known, beside it what others must be asked.
func (s *Server) datagrams(ctx context.Context, socket takeover.Datagrams) {
	buf := make([]byte, maxMessage)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.options.Log.Warn("reading a DNS question", "error", err)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		send := func(reply []byte) {
			if reply != nil {
				_, _ = socket.WriteToUDPAddrPort(reply, from) // a client that is gone asks no more
			}
		}
		reply, q := s.known(buf[:n], 0)
		if q == nil {
			send(reply)
			continue
		}
		raw := append([]byte(nil), q.raw...)
		q.raw = raw
		s.open.Go(func() { send(s.ask(ctx, q, q.size)) })
	}
}

// accept answers what comes over TCP.
func (s *Server) accept(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.options.Log.Warn("accepting a DNS connection", "error", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		select {
		case s.conns <- struct{}{}:
			s.open.Go(func() {
				defer func() { <-s.conns }()
				s.stream(ctx, conn)
			})
		default:
			s.refused.Add(1)
			conn.Close()
		}
	}
}

// stream answers the questions of one connection in order.
func (s *Server) stream(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	for {
		_ = conn.SetDeadline(time.Now().Add(idle))
		raw, err := readMessage(conn)
		if err != nil {
			return
		}
		reply, q := s.known(raw, maxMessage)
		if q != nil {
			reply = s.ask(ctx, q, maxMessage)
		}
		if reply == nil || writeMessage(conn, reply) != nil {
			return
		}
	}
}

// known answers what needs no other server, or returns the question that does. A nil answer without a question: there is none to give.
// limit bounds the answer, bytes; 0: what the client takes over UDP.
func (s *Server) known(raw []byte, limit int) (reply []byte, q *query) {
	defer s.recovered(func() { reply, q = nil, nil })
	s.requests.Add(1)
	q, err := parse(raw)
	switch {
	case errors.Is(err, errNoQuery):
		s.malformed.Add(1)
		return nil, nil
	case errors.Is(err, errOperation):
		s.malformed.Add(1)
		return q.empty(dnsmessage.RCodeNotImplemented, false), nil
	case err != nil:
		s.malformed.Add(1)
		q.end = 0
		q.edns = false
		return q.empty(dnsmessage.RCodeFormatError, false), nil
	}
	if limit == 0 {
		limit = q.size
	}
	if q.addresses() {
		table := s.options.Table()
		if table == nil { // others would say of the mesh's own that there is no such name
			return q.empty(dnsmessage.RCodeServerFailure, false), nil
		}
		if record, of := table.Search(q.name, s.options.Search); record != nil {
			s.fromTable.Add(1)
			return q.fromTable(record, of, rand.Uint32(), limit), nil
		}
	}
	if reply := s.remembered(q, rand.Uint32()); reply != nil {
		return q.within(reply, limit), nil
	}
	return nil, q
}

// ask answers what other servers must be asked.
func (s *Server) ask(ctx context.Context, q *query, limit int) (reply []byte) {
	defer s.recovered(func() { reply = nil })
	reply, err := s.forward(ctx, q)
	if err != nil {
		s.options.Log.Debug("a DNS question was not answered", "name", q.name, "type", q.question.Type.String(), "error", err)
		return q.empty(dnsmessage.RCodeServerFailure, false)
	}
	return q.within(reply, limit)
}

// within cuts an answer that is larger than its client takes: it will ask again over TCP.
func (q *query) within(reply []byte, limit int) []byte {
	if len(reply) <= limit {
		return reply
	}
	return q.empty(dnsmessage.RCode(reply[3]&0xF), true)
}

// recovered keeps one question from ending the proxy.
func (s *Server) recovered(undo func()) {
	if v := recover(); v != nil {
		s.options.Log.Error("recovered from a panic while answering a DNS question", "panic", v, "stack", string(debug.Stack()))
		s.options.Recovered(v)
		undo()
	}
}

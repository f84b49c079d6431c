package check

import (
	"bytes"
	"context"
	"net"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/grpchealth"
)

const (
	checker  = "Envoy/HC" // the user agent that applications know health checks by
	maxProbe = 64 << 10   // how much of an answer is read, in bytes
)

// Target is a host to be checked.
type Target interface {
	// Face is how the host is connected to now; it is comparable.
	Face() any
	Secured() bool // by TLS
	Name() string  // of its cluster
	// Transport and Dial connect to the host by a face, for requests and for bytes.
	Transport(ctx context.Context, face any, p exchange.Protocol) (exchange.Transport, error)
	Dial(ctx context.Context, face any) (net.Conn, error)
}

// Prober checks one host, again and again. It keeps the connection where it may.
type Prober struct {
	Target Target

	face  any
	proto exchange.Protocol
	t     exchange.Transport
	raw   net.Conn
}

// Close ends the connection that was kept.
func (p *Prober) Close() {
	if p.t != nil {
		_ = p.t.Close()
	}
	if p.raw != nil {
		_ = p.raw.Close()
	}
	p.t, p.raw = nil, nil
}

// Probe makes one check.
func (p *Prober) Probe(ctx context.Context, c *Config) Result {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if f := p.Target.Face(); f != p.face || !c.Reuse {
		p.Close()
		p.face = f
	}
	deadline, _ := ctx.Deadline()
	if c.Kind == TCP {
		return p.tcp(ctx, c, deadline)
	}
	proto := exchange.HTTP1
	if c.HTTP2 || c.Kind == GRPC {
		proto = exchange.HTTP2
	}
	if p.t != nil && (p.proto != proto || !p.t.Alive()) {
		p.Close()
	}
	if p.t == nil {
		t, err := p.Target.Transport(ctx, p.face, proto)
		if err != nil {
			return Lost
		}
		p.t, p.proto = t, proto
	}
	s, err := p.t.Open()
	if err != nil {
		p.Close()
		return Lost
	}
	s.SetDeadline(deadline)
	stop := onEnd(ctx, s.Abort)
	got := p.ask(s, c)
	stop()
	keep := s.Reusable()
	s.Close()
	if !keep {
		p.Close()
	}
	return got
}

// onEnd has f run when ctx ends. Once stop has returned, f does not run, nor is it still running: what f is about may serve others then.
func onEnd(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !cancel() {
			<-done
		}
	}
}

// ask sends a request and judges the answer.
func (p *Prober) ask(s exchange.Stream, c *Config) Result {
	var request, response, trailers exchange.Head
	body := describe(&request, p.Target, c)
	if err := s.WriteHead(&request, body == nil); err != nil {
		return Lost
	}
	if body != nil {
		if err := s.WriteBody(body, true); err != nil {
			return Lost
		}
	}
	end, err := s.ReadHead(&response)
	for err == nil && response.Status < 200 {
		response.Reset()
		end, err = s.ReadHead(&response)
	}
	var answer []byte
	for err == nil && !end && len(answer) <= maxProbe {
		var piece exchange.View
		piece, end, err = s.ReadBody()
		answer = append(answer, piece...)
	}
	if err != nil {
		return Lost
	}
	if c.Kind == GRPC {
		s.ReadTrailers(&trailers)
		return judgeGRPC(&response, &trailers, answer)
	}
	switch {
	case within(c.Expected, response.Status):
		return Pass
	case within(c.Retriable, response.Status):
		return Lost
	}
	return Refused
}

// describe fills the head of a check's request and returns its body, nil where there is none.
func describe(r *exchange.Head, t Target, c *Config) []byte {
	name := c.Authority
	if name == "" {
		name = t.Name()
	}
	scheme := "http"
	if t.Secured() {
		scheme = "https"
	}
	r.Scheme, r.Authority = r.Intern(scheme), r.Intern(name)
	r.Add("user-agent", checker)
	if c.Kind == GRPC {
		r.Method, r.Path = r.Intern("POST"), r.Intern(grpchealth.Path)
		r.Add("content-type", "application/grpc")
		return grpchealth.Question(c.Service)
	}
	r.Method, r.Path = r.Intern(c.Method), r.Intern(c.Path)
	for _, f := range c.Headers {
		r.Set(f[0], f[1])
	}
	return nil
}

// judgeGRPC judges the answer to a check of a gRPC service.
func judgeGRPC(head, trailers *exchange.Head, body []byte) Result {
	status := trailers.Get("grpc-status")
	if status == nil {
		status = head.Get("grpc-status")
	}
	if head.Status == 200 && status.Is("0") && grpchealth.Serving(body) {
		return Pass
	}
	return Refused
}

// tcp connects, sends what there is to send, and waits for what is to come.
func (p *Prober) tcp(ctx context.Context, c *Config, deadline time.Time) Result {
	if len(c.Receive) == 0 { // connecting is what is checked
		p.Close()
	}
	if p.raw == nil {
		conn, err := p.Target.Dial(ctx, p.face)
		if err != nil {
			return Lost
		}
		p.raw = conn
	}
	conn := p.raw
	stop := onEnd(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write(c.Send); err != nil || !receive(conn, c.Receive) {
		p.Close()
		return Lost
	}
	return Pass
}

// receive reads until all blocks have come, in their order, with anything between them.
func receive(conn net.Conn, blocks [][]byte) bool {
	var got []byte
	for len(blocks) > 0 {
		if at := bytes.Index(got, blocks[0]); at >= 0 {
			got, blocks = got[at+len(blocks[0]):], blocks[1:]
			continue
		}
		if len(got) > maxProbe {
			return false
		}
		got = slices.Grow(got, 512)
		n, err := conn.Read(got[len(got):cap(got)])
		if got = got[:len(got)+n]; err != nil && n == 0 {
			return false
		}
	}
	return true
}

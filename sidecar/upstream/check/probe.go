package upstream

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

// prober checks one host, again and again. It keeps the connection where it may.
type prober struct {
	face  *face
	proto exchange.Protocol
	t     exchange.Transport
	raw   net.Conn
}

func (p *prober) close() {
	if p.t != nil {
		_ = p.t.Close()
	}
	if p.raw != nil {
		_ = p.raw.Close()
	}
	p.t, p.raw = nil, nil
}

// probe makes one check.
func (p *prober) probe(ctx context.Context, h *Host, c *Health) result {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if f := h.face.Load(); f != p.face || !c.Reuse {
		p.close()
		p.face = f
	}
	deadline, _ := ctx.Deadline()
	if c.Kind == CheckTCP {
		return p.tcp(ctx, h, c, deadline)
	}
	proto := exchange.HTTP1
	if c.HTTP2 || c.Kind == CheckGRPC {
		proto = exchange.HTTP2
	}
	if p.t != nil && (p.proto != proto || !p.t.Alive()) {
		p.close()
	}
	if p.t == nil {
		t, err := h.transport(ctx, p.face, poolKey{proto: proto}, nil)
		if err != nil {
			return lost
		}
		p.t, p.proto = t, proto
	}
	s, err := p.t.Open()
	if err != nil {
		p.close()
		return lost
	}
	s.SetDeadline(deadline)
	stop := onEnd(ctx, s.Abort)
	got := p.ask(s, h, c)
	stop()
	keep := s.Reusable()
	s.Close()
	if !keep {
		p.close()
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
func (p *prober) ask(s exchange.Stream, h *Host, c *Health) result {
	var request, response, trailers exchange.Head
	body := describe(&request, h, c)
	if err := s.WriteHead(&request, body == nil); err != nil {
		return lost
	}
	if body != nil {
		if err := s.WriteBody(body, true); err != nil {
			return lost
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
		return lost
	}
	if c.Kind == CheckGRPC {
		s.ReadTrailers(&trailers)
		return judgeGRPC(&response, &trailers, answer)
	}
	switch {
	case within(c.Expected, response.Status):
		return pass
	case within(c.Retriable, response.Status):
		return lost
	}
	return refuse
}

// describe fills the head of a check's request and returns its body, nil where there is none.
func describe(r *exchange.Head, h *Host, c *Health) []byte {
	name := c.Authority
	if name == "" {
		name = h.cluster.name
	}
	scheme := "http"
	if h.face.Load().tls != nil {
		scheme = "https"
	}
	r.Scheme, r.Authority = r.Intern(scheme), r.Intern(name)
	r.Add("user-agent", checker)
	if c.Kind == CheckGRPC {
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
func judgeGRPC(head, trailers *exchange.Head, body []byte) result {
	status := trailers.Get("grpc-status")
	if status == nil {
		status = head.Get("grpc-status")
	}
	if head.Status == 200 && status.Is("0") && grpchealth.Serving(body) {
		return pass
	}
	return refuse
}

// tcp connects, sends what there is to send, and waits for what is to come.
func (p *prober) tcp(ctx context.Context, h *Host, c *Health, deadline time.Time) result {
	if len(c.Receive) == 0 { // connecting is what is checked
		p.close()
	}
	if p.raw == nil {
		conn, _, err := h.dial(ctx, p.face, poolKey{proto: exchange.TCP}, nil)
		if err != nil {
			return lost
		}
		p.raw = conn
	}
	conn := p.raw
	stop := onEnd(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write(c.Send); err != nil || !receive(conn, c.Receive) {
		p.close()
		return lost
	}
	return pass
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

package http2

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// piped serves one end of a pipe inside a synctest bubble and returns the other, preface and settings said.
func piped(t *testing.T, h Handler, settings ...http2.Setting) *hostile {
	t.Helper()
	return pipedTo(t, NewServer(ServerOptions{Handler: h, Recorder: &counted{}, Log: slog.New(slog.DiscardHandler)}), nil, settings...)
}

// pipedTo is piped with a server that may have other clients.
func pipedTo(t *testing.T, s *Server, drain *listener.Drain, settings ...http2.Setting) *hostile {
	t.Helper()
	return pipedBy(t, &config.HTTP{}, s, drain, func(nc net.Conn) net.Conn { return nc }, settings...)
}

// pipedBy is pipedTo by a configuration, with something around the server's end.
func pipedBy(t *testing.T, http *config.HTTP, s *Server, drain *listener.Drain, wrap func(net.Conn) net.Conn, settings ...http2.Setting) *hostile {
	t.Helper()
	store := config.NewStore(upstream.NewRegistry(upstream.Options{}))
	store.Swap(&config.Config{Listeners: []*config.Listener{{Name: "test", Default: &config.FilterChain{HTTP: http}}}})
	ours, theirs := net.Pipe()
	go s.Serve(session(store, wrap(theirs), drain))
	p := &hostile{Framer: http2.NewFramer(ours, ours), nc: ours, next: 1}
	p.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	_, _ = io.WriteString(ours, http2.ClientPreface)
	p.must(t, p.WriteSettings(settings...))
	return p
}

type counted struct {
	exchange.Recorder
	n int
}

func (c *counted) Panicked()      { c.n++ }
func (*counted) Malformed(string) {}

// body answers with n bytes.
type body struct {
	n     int
	stall time.Duration
	done  chan error
}

func (body) Refuse(*exchange.Exchange, exchange.Downstream, *config.Bound, exchange.Outcome) {}

func (b body) Serve(x *exchange.Exchange, d exchange.Downstream, _ *config.Bound) {
	x.Response.Status, x.Stall = 200, b.stall
	_ = d.WriteHead(false)
	b.done <- d.WriteBody(make([]byte, b.n), true)
}

// TestClientsThatTakeNothing: a client whose window is shut, or whose socket is full, is given up after as long as a stream may be idle, never where there
// is no such time, and after a minute where memory is full.
func TestClientsThatTakeNothing(t *testing.T) {
	const forEver = 3 * time.Hour
	for name, c := range map[string]struct {
		idle time.Duration
		full bool
		want time.Duration
	}{
		"a timeout":                   {5 * time.Minute, false, 5 * time.Minute},
		"a timeout, memory is full":   {5 * time.Minute, true, time.Minute},
		"no timeout":                  {0, false, forEver},
		"no timeout, memory is full":  {0, true, time.Minute},
		"a short one, memory is full": {30 * time.Second, true, 30 * time.Second},
	} {
		for what, window := range map[string]uint32{"window": 0, "socket": 1 << 30} {
			t.Run(name+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := body{n: 1 << 20, stall: c.idle, done: make(chan error, 1)}
					s := NewServer(ServerOptions{Handler: h, Recorder: &counted{}, Log: slog.New(slog.DiscardHandler), Overloaded: func() bool { return c.full }})
					p := pipedBy(t, &config.HTTP{StreamIdle: c.idle, IdleTimeout: 2 * forEver}, s, nil, func(nc net.Conn) net.Conn { return nc },
						http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
					defer p.nc.Close()
					p.must(t, p.WriteWindowUpdate(0, 1<<30))
					begun := time.Now()
					id := p.open(p.get(), true)
					reset := make(chan error, 1)
					if window == 0 {
						go func() { reset <- p.awaitReset(id) }()
					}
					select {
					case err := <-h.done:
						if err != exchange.ErrTimeout {
							t.Errorf("the writer got %v", err)
						}
						if d := time.Since(begun); d < c.want || d > c.want*3/2+2*tick {
							t.Errorf("after %v", d)
						}
						if window > 0 {
							return
						}
						if err := <-reset; err != nil {
							t.Error(err)
						}
					case <-time.After(forEver):
						if c.want != forEver {
							t.Error("it waits for ever")
						}
					}
				})
			})
		}
	}
}

// awaitReset reads until a stream is reset for want of window.
func (p *hostile) awaitReset(id uint32) error {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return err
		}
		if r, ok := f.(*http2.RSTStreamFrame); ok {
			if r.StreamID != id || r.ErrCode != http2.ErrCodeFlowControl {
				return fmt.Errorf("got %v", r)
			}
			return nil
		}
	}
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		tr, err := NewCodec(CodecOptions{}).Transport(ours, &exchange.TransportInfo{})
		if err != nil {
			t.Fatal(err)
		}
		st, err := tr.Open()
		if err != nil {
			t.Fatal(err)
		}
		var h exchange.Head
		h.Method, h.Path = exchange.View("POST"), exchange.View("/")
		if err := st.WriteHead(&h, false); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		st.SetDeadline(begun.Add(time.Second))
		if _, err := st.ReadHead(&h); err != exchange.ErrTimeout || time.Since(begun) != time.Second {
			t.Errorf("reading: %v after %v", err, time.Since(begun))
		}
		st.SetDeadline(time.Now().Add(time.Second))
		if err := st.WriteBody(make([]byte, 1<<20), true); err != exchange.ErrTimeout || time.Since(begun) != 2*time.Second {
			t.Errorf("writing: %v after %v", err, time.Since(begun))
		}
		st.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, st.Abort)
		if _, err := st.ReadHead(&h); err != exchange.ErrAborted {
			t.Errorf("aborted: %v", err)
		}
		st.Close()
		tr.Close()
		theirs.Close()
	})
}

// broken panics.
type broken struct{}

func (broken) Refuse(*exchange.Exchange, exchange.Downstream, *config.Bound, exchange.Outcome) {}
func (broken) Serve(*exchange.Exchange, exchange.Downstream, *config.Bound)                    { panic("defect") }

func TestPanicEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := piped(t, broken{})
		defer p.nc.Close()
		p.open(p.get(), true)
		for {
			f, err := p.ReadFrame()
			p.must(t, err)
			if g, ok := f.(*http2.GoAwayFrame); ok {
				if g.ErrCode != http2.ErrCodeInternal {
					t.Errorf("got %v", g)
				}
				return
			}
		}
	})
}

// shattering panics when it is read from.
type shattering struct{ net.Conn }

func (shattering) Read([]byte) (int, error) { panic("defect") }

func TestPanicWhileReadingEndsTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		n := &counted{}
		tr, err := NewCodec(CodecOptions{Recorder: n}).Transport(shattering{ours}, &exchange.TransportInfo{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if tr.Usable() || n.n != 1 {
			t.Errorf("usable %v, %d panics counted", tr.Usable(), n.n)
		}
		tr.Close()
		theirs.Close()
	})
}

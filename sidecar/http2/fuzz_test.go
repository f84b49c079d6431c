package http2

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// script is a connection whose peer says one thing and then hangs up.
type script struct {
	net.Conn
	r io.Reader
}

func (s *script) Read(p []byte) (int, error)       { return s.r.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// reader is a Handler that reads whole bodies and answers with what it read.
type reader struct{}

func (reader) Refuse(x *exchange.Exchange, d exchange.Downstream, _ *config.Bound, o exchange.Outcome) {
	x.Response.Status = o.Status()
	_ = d.WriteHead(true)
}

func (reader) Serve(x *exchange.Exchange, d exchange.Downstream, _ *config.Bound) {
	x.Response.Status = 200
	if p, whole := d.BodyBuffered(); whole {
		_ = d.WriteHead(len(p) == 0)
		_ = d.WriteBody(p, true)
		return
	}
	_ = d.WriteHead(false)
	for {
		p, end, err := d.ReadBody()
		if err != nil {
			d.Abort()
			return
		}
		if d.WriteBody(p, end) != nil || end {
			return
		}
	}
}

type siren struct {
	exchange.Recorder
	t *testing.T
}

func (siren) Malformed(string) {}
func (a siren) Panicked()      { a.t.Error("a handler panicked") }

// seeds are conversations that reach deep.
func seeds(f *testing.F, client bool) {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	h := &hostile{}
	h.enc = hpack.NewEncoder(&h.block)
	add := func() { f.Add(bytes.Clone(b.Bytes())); b.Reset() }
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	block := h.get("cookie", "a", "content-length", "3")
	if client {
		block = h.fields(":status", "200", "content-length", "3")
	}
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
	_ = fr.WriteData(1, true, []byte("abc"))
	_ = fr.WriteWindowUpdate(1, 100)
	_ = fr.WriteWindowUpdate(0, 100)
	_ = fr.WritePing(false, [8]byte{})
	add()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1]})
	_ = fr.WriteContinuation(1, true, block[1:])
	_ = fr.WriteDataPadded(1, false, []byte("a"), []byte{0, 0})
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.fields("t", "v"), EndStream: true, EndHeaders: true})
	_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
	_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	add()
}

func FuzzServer(f *testing.F) {
	seeds(f, false)
	store := config.NewStore(upstream.NewRegistry(upstream.Options{}))
	store.Swap(&config.Config{Listeners: []*config.Listener{{Name: "test", Default: &config.FilterChain{HTTP: &config.HTTP{}}}}})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := NewServer(ServerOptions{Handler: reader{}, Recorder: siren{t: t}, Log: slog.New(slog.DiscardHandler)})
		nc := &script{r: io.MultiReader(bytes.NewReader([]byte(http2.ClientPreface)), bytes.NewReader(in))}
		done := make(chan struct{})
		go func() { s.Serve(session(store, nc, nil)); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatal("the connection outlives its peer")
		}
	})
}

func FuzzTransport(f *testing.F) {
	seeds(f, true)
	codec := NewCodec(CodecOptions{})
	f.Fuzz(func(t *testing.T, in []byte) {
		hold, release := io.Pipe()
		tr, err := codec.Transport(&script{r: io.MultiReader(hold, bytes.NewReader(in))}, &exchange.TransportInfo{})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		st, err := tr.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		st.SetDeadline(time.Now().Add(5 * time.Second))
		var h exchange.Head
		h.Method, h.Path, h.Authority = exchange.View("GET"), exchange.View("/"), exchange.View("a")
		if err := st.WriteHead(&h, true); err != nil {
			t.Fatal(err)
		}
		release.Close()
		for {
			end, err := st.ReadHead(&h)
			if err == exchange.ErrTimeout {
				t.Fatal("the stream outlives its peer")
			}
			if err != nil || end {
				return
			}
			if h.Status >= 200 {
				break
			}
		}
		for end := false; !end && err == nil; {
			if _, end, err = st.ReadBody(); err == exchange.ErrTimeout {
				t.Fatal("the stream outlives its peer")
			}
		}
		st.ReadTrailers(&h)
	})
}

package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// server is the other end of a stream, frame by frame.
type server struct {
	t *testing.T
	*http2.Framer
	ended chan struct{}
}

// begin connects a client to a server that does what a test says.
func begin(t *testing.T, window int, serve func(*server)) *Stream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != http2.ClientPreface {
			t.Errorf("the preface is %q, %v", preface, err)
			return
		}
		s.Framer = http2.NewFramer(conn, conn)
		serve(s)
	}()
	d := &Dialer{Address: l.Addr().String(), Method: "/a.B/C", Window: window}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := d.Dial(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		c.Close()
		l.Close()
		<-s.ended
	})
	return c
}

// until reads frames until one is as wanted; others are of no interest.
func until[F http2.Frame](s *server, wanted func(F) bool) F {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			s.t.Errorf("waiting for a frame: %v", err)
			panic(err) // ends the server's goroutine with the test
		}
		if f, ok := f.(F); ok && wanted(f) {
			return f
		}
	}
}

func anything[F http2.Frame](F) bool { return true }

// must stops at what the test's own end cannot write.
func (s *server) must(err error) {
	if err != nil {
		s.t.Errorf("writing: %v", err)
	}
}

// accept answers the call with headers.
func (s *server) accept(settings ...http2.Setting) {
	s.must(s.WriteSettings(settings...))
	until(s, anything[*http2.HeadersFrame])
	s.must(s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200", "content-type", "application/grpc"), EndHeaders: true}))
}

func block(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}) // a buffer takes all
	}
	return b.Bytes()
}

func message(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

// want receives a message.
func want(t *testing.T, s *Stream, text string) {
	t.Helper()
	got, err := s.Recv()
	if err != nil || string(got) != text {
		t.Fatalf("received %d bytes (%.20q), %v; want %d (%.20q)", len(got), got, err, len(text), text)
	}
}

// TestMessages holds that messages are received whole, whatever frames they come in.
func TestMessages(t *testing.T) {
	long := strings.Repeat("0123456789", 30_000)
	s := begin(t, 1<<20, func(s *server) {
		s.accept()
		s.must(s.WriteData(1, false, append(message("one"), message("two")...))) // two in a frame
		s.must(s.WriteData(1, false, nil))
		for rest := append(message(long), message("")...); len(rest) > 0; { // one in many, with odd sizes; the empty one with its end
			n := min(len(rest), 16_383)
			s.must(s.WriteData(1, false, rest[:n]))
			rest = rest[n:]
		}
		last := message("padded")
		s.must(s.WriteDataPadded(1, false, last[:3], make([]byte, 200))) // a message's head in two
		s.must(s.WriteRawFrame(http2.FrameType(0xee), 0, 1, []byte("of no known kind")))
		s.must(s.WriteDataPadded(1, false, last[3:], make([]byte, 7)))
		trailers := block("grpc-status", "0")
		s.must(s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: trailers[:3], EndStream: true}))
		s.must(s.WriteContinuation(1, true, trailers[3:]))
		_, _ = s.ReadFrame() // until the client has read
	})
	for _, text := range []string{"one", "two", long, "", "padded"} {
		want(t, s, text)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("the call ends with %v", err)
	}
}

// TestAnswersFrames holds that the server's settings and pings are answered while the client waits, and that sent messages come before.
func TestAnswersFrames(t *testing.T) {
	s := begin(t, 1<<20, func(s *server) {
		s.accept(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
		if f := until(s, anything[*http2.DataFrame]); !bytes.Equal(f.Data(), message("hello")) {
			s.t.Errorf("the server received %q", f.Data())
		}
		until(s, (*http2.SettingsFrame).IsAck)
		s.must(s.WritePing(false, [8]byte{1, 2, 3}))
		if f := until(s, (*http2.PingFrame).IsAck); f.Data != [8]byte{1, 2, 3} {
			s.t.Errorf("a ping was answered with %v", f.Data)
		}
		s.must(s.WriteGoAway(1, http2.ErrCodeNo, []byte("old"))) // which does not end the stream
		s.must(s.WriteData(1, false, message("done")))
		s.must(s.WriteRSTStream(1, http2.ErrCodeInternal))
		_, _ = s.ReadFrame()
	})
	if err := s.Send([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	want(t, s, "done")
	if _, err := s.Recv(); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
		t.Errorf("a stream that is reset ends with %v", err)
	}
}

// TestServersWindows holds that no more is sent than the server has room for, in the stream and in all, and the rest once it has.
func TestServersWindows(t *testing.T) {
	text := strings.Repeat("x", 100_000)
	s := begin(t, 1<<20, func(s *server) {
		s.accept(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		s.must(s.WritePing(false, [8]byte{})) // its answer is the last that comes
		received := 0
		take := func() {
			for {
				f, err := s.ReadFrame()
				if err != nil {
					s.t.Errorf("reading: %v", err)
					return
				}
				switch f := f.(type) {
				case *http2.DataFrame:
					received += len(f.Data())
				case *http2.PingFrame:
					return
				}
			}
		}
		if take(); received != defaultWindow { // before the settings were known
			s.t.Errorf("%d bytes came", received)
		}
		room := 1000
		for _, more := range []int{70_000, 40_000} {
			s.must(s.WriteWindowUpdate(1, uint32(more)))
			s.must(s.WriteWindowUpdate(0, uint32(more)))
			s.must(s.WritePing(false, [8]byte{}))
			take()
			if room += more; received != min(room, len(message(text))) {
				s.t.Errorf("%d bytes came where there was room for %d", received, room)
			}
		}
		s.must(s.WriteData(1, false, message("done")))
		_, _ = s.ReadFrame()
	})
	if err := s.Send([]byte(text)); err != nil {
		t.Fatal(err)
	}
	want(t, s, "done")
}

// TestOwnWindows holds that the server is given back what was received: it could not go on otherwise.
func TestOwnWindows(t *testing.T) {
	const window, piece, pieces = 100_000, 10_000, 50
	s := begin(t, window, func(s *server) {
		s.must(s.WriteSettings())
		room, whole := defaultWindow, defaultWindow
		count := func(f http2.Frame) {
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				if f.StreamID == 0 {
					whole += int(f.Increment)
				} else {
					room += int(f.Increment)
				}
			case *http2.SettingsFrame:
				if value, has := f.Value(http2.SettingInitialWindowSize); has {
					room += int(value) - defaultWindow
				}
			}
			if room > window || whole > window {
				s.t.Errorf("windows of %d and %d bytes", room, whole)
			}
		}
		for greeted := false; !greeted; {
			f, err := s.ReadFrame()
			if err != nil {
				s.t.Error(err)
				return
			}
			count(f)
			_, greeted = f.(*http2.HeadersFrame)
		}
		s.must(s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200"), EndHeaders: true}))
		for range pieces {
			for data := message(strings.Repeat("y", piece)); min(room, whole) < len(data); {
				f, err := s.ReadFrame()
				if err != nil {
					s.t.Errorf("waiting for room: %v", err)
					return
				}
				count(f)
			}
			data := message(strings.Repeat("y", piece))
			room, whole = room-len(data), whole-len(data)
			s.must(s.WriteData(1, false, data))
		}
		s.must(s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("grpc-status", "7", "grpc-message", "enough"), EndHeaders: true, EndStream: true}))
		for err := error(nil); err == nil; _, err = s.ReadFrame() { // until the client has read
		}
	})
	for range pieces {
		want(t, s, strings.Repeat("y", piece))
	}
	if _, err := s.Recv(); err == nil || !strings.Contains(err.Error(), `"7": enough`) {
		t.Errorf("a call that fails ends with %v", err)
	}
}

// TestBroken holds that what a server must not do is not taken for something else.
func TestBroken(t *testing.T) {
	for why, serve := range map[string]func(*server){
		"not taken":   func(s *server) { s.must(s.WriteGoAway(0, http2.ErrCodeNo, nil)) },
		"HTTP status": func(s *server) { s.headers(":status", "503") },
		"frame within": func(s *server) {
			s.must(s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":status", "200")}))
			s.must(s.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 8)))
		},
		"compressed":  func(s *server) { s.headers(":status", "200"); s.must(s.WriteData(1, false, []byte{1, 0, 0, 0, 0})) },
		"stream 3":    func(s *server) { s.must(s.WriteData(3, false, message("x"))) },
		"padding":     func(s *server) { s.must(s.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 1})) },
		"DATA frame":  func(s *server) { s.must(s.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, maxFrame+1))) },
		"window":      func(s *server) { s.must(s.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4))) },
		"gRPC status": func(s *server) { s.headers(":status", "200"); s.must(s.WriteData(1, true, message("cut")[:6])) },
	} {
		s := begin(t, 1<<20, func(s *server) {
			s.AllowIllegalWrites = true
			s.must(s.WriteSettings())
			serve(s)
			for err := error(nil); err == nil; _, err = s.ReadFrame() {
			}
		})
		message, err := s.Recv()
		if err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: received %q, %v", why, message, err)
		}
		s.Close()
	}
}

func (s *server) headers(pairs ...string) {
	s.must(s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(pairs...), EndHeaders: true}))
}

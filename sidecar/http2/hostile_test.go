package http2

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// hostile is a client that writes whatever frames it likes.
type hostile struct {
	*http2.Framer
	nc    net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
	next  uint32
	err   error // of the last open
}

func attack(t testing.TB, b *bench) *hostile {
	t.Helper()
	nc, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	h := &hostile{Framer: http2.NewFramer(nc, nc), nc: nc, next: 1}
	h.AllowIllegalWrites = true
	h.enc = hpack.NewEncoder(&h.block)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	h.must(t, h.WriteSettings())
	return h
}

func (h *hostile) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fields encodes name, value, name, value...
func (h *hostile) fields(kv ...string) []byte {
	h.block.Reset()
	for i := 0; i < len(kv); i += 2 {
		_ = h.enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return h.block.Bytes()
}

func (h *hostile) get(more ...string) []byte {
	return h.fields(append([]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"}, more...)...)
}

// open sends a request head and returns its stream.
func (h *hostile) open(block []byte, end bool) uint32 {
	id := h.next
	h.next += 2
	h.err = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: end, EndHeaders: true})
	return id
}

// verdict reads until the server has answered stream id, reset it or ended the connection, and says what it did.
func (h *hostile) verdict(t testing.TB, id uint32) string {
	t.Helper()
	dec := hpack.NewDecoder(4096, nil)
	for {
		f, err := h.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			return "goaway " + f.ErrCode.String()
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return "reset " + f.ErrCode.String()
			}
		case *http2.HeadersFrame:
			fields, err := dec.DecodeFull(f.HeaderBlockFragment())
			h.must(t, err)
			if f.StreamID == id {
				return fields[0].Value
			}
		}
	}
}

func answering(o exchange.Outcome) *relay {
	return &relay{local: o, dial: func() (exchange.Transport, error) { return nil, errors.New("unused") }}
}

func TestMalformedRequests(t *testing.T) {
	long := strings.Repeat("x", 200)
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"a good one":                        {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"}, "404"},
		"host instead of :authority":        {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a"}, "404"},
		"host equal to :authority":          {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a", "host", "A"}, "404"},
		"host other than :authority":        {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a", "host", "b"}, "400"},
		"no :path":                          {[]string{":method", "GET", ":scheme", "http", ":authority", "a"}, "400"},
		"two :path":                         {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":path", "/b"}, "400"},
		"empty :path":                       {[]string{":method", "GET", ":scheme", "http", ":path", ""}, "400"},
		"a path with a space":               {[]string{":method", "GET", ":scheme", "http", ":path", "/ HTTP/1.1"}, "400"},
		"a method with a space":             {[]string{":method", "GET /x", ":scheme", "http", ":path", "/"}, "400"},
		"an authority with a path":          {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a/b"}, "400"},
		"a pseudo field of responses":       {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":status", "200"}, "400"},
		"an unknown pseudo field":           {[]string{":method", "GET", ":scheme", "http", ":path", "/", ":x", "200"}, "400"},
		"a pseudo field after others":       {[]string{":method", "GET", ":scheme", "http", "a", "b", ":path", "/"}, "400"},
		"upper case":                        {[]string{":method", "GET", ":scheme", "http", ":path", "/", "Abc", "b"}, "400"},
		"a name with a colon":               {[]string{":method", "GET", ":scheme", "http", ":path", "/", "a:b", "b"}, "400"},
		"a value with a line break":         {[]string{":method", "GET", ":scheme", "http", ":path", "/", "a", "b\r\nc: d"}, "400"},
		"a value with NUL":                  {[]string{":method", "GET", ":scheme", "http", ":path", "/", "a", "b\x00"}, "400"},
		"connection":                        {[]string{":method", "GET", ":scheme", "http", ":path", "/", "connection", "close"}, "400"},
		"transfer-encoding":                 {[]string{":method", "GET", ":scheme", "http", ":path", "/", "transfer-encoding", "chunked"}, "400"},
		"te: gzip":                          {[]string{":method", "GET", ":scheme", "http", ":path", "/", "te", "gzip"}, "400"},
		"te: trailers":                      {[]string{":method", "GET", ":scheme", "http", ":path", "/", "te", "trailers"}, "404"},
		"two content-lengths":               {[]string{":method", "GET", ":scheme", "http", ":path", "/", "content-length", "0", "content-length", "0"}, "400"},
		"a content-length that is none":     {[]string{":method", "GET", ":scheme", "http", ":path", "/", "content-length", "+1"}, "400"},
		"a content-length but no body":      {[]string{":method", "GET", ":scheme", "http", ":path", "/", "content-length", "5"}, "400"},
		"CONNECT":                           {[]string{":method", "CONNECT", ":authority", "a:1"}, "404"},
		"CONNECT with a path":               {[]string{":method", "CONNECT", ":authority", "a:1", ":scheme", "http", ":path", "/"}, "400"},
		"extended CONNECT":                  {[]string{":method", "CONNECT", ":protocol", "websocket", ":authority", "a:1", ":scheme", "http", ":path", "/"}, "404"},
		"extended CONNECT without a path":   {[]string{":method", "CONNECT", ":protocol", "websocket", ":authority", "a:1"}, "400"},
		"CONNECT with a length":             {[]string{":method", "CONNECT", ":authority", "a:1", "content-length", "1"}, "400"},
		"extended CONNECT with a length":    {[]string{":method", "CONNECT", ":protocol", "websocket", ":authority", "a:1", ":scheme", "http", ":path", "/", "content-length", "1"}, "400"},
		"extended CONNECT with no bytes":    {[]string{":method", "CONNECT", ":protocol", "websocket", ":authority", "a:1", ":scheme", "http", ":path", "/", "content-length", "0"}, "400"},
		":protocol but not CONNECT":         {[]string{":method", "GET", ":protocol", "websocket", ":authority", "a:1", ":scheme", "http", ":path", "/"}, "400"},
		"more fields than allowed":          {append([]string{":method", "GET", ":scheme", "http", ":path", "/"}, strings.Split(strings.Repeat("a,b,", 120)+"a,b", ",")...), "431"},
		"more bytes than allowed (4 KiB)":   {append([]string{":method", "GET", ":scheme", "http", ":path", "/"}, strings.Split(strings.Repeat("a,"+long+",", 20)+"a,b", ",")...), "431"},
		"one field of 10 KiB (4 allowed)":   {[]string{":method", "GET", ":scheme", "http", ":path", "/", "a", strings.Repeat(long, 50)}, "431"},
		"cookies in crumbs are not trouble": {[]string{":method", "GET", ":scheme", "http", ":path", "/", "cookie", "a=b", "cookie", "c=d"}, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, answering(exchange.NoRoute), func(h *config.HTTP) { h.MaxHead = 4 << 10 })
			h := attack(t, b)
			if got := h.verdict(t, h.open(h.fields(c.fields...), true)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestViolationsEndTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(h *hostile)
		want string
	}{
		"an even stream":                  {func(h *hostile) { h.next = 2; h.open(h.get(), true) }, "goaway PROTOCOL_ERROR"},
		"DATA on an idle stream":          {func(h *hostile) { h.WriteData(5, true, nil) }, "goaway PROTOCOL_ERROR"},
		"DATA on stream 0":                {func(h *hostile) { h.WriteRawFrame(http2.FrameData, 0, 0, []byte("x")) }, "goaway PROTOCOL_ERROR"},
		"RST_STREAM on an idle stream":    {func(h *hostile) { h.WriteRSTStream(5, 0) }, "goaway PROTOCOL_ERROR"},
		"WINDOW_UPDATE on an idle stream": {func(h *hostile) { h.WriteWindowUpdate(5, 1) }, "goaway PROTOCOL_ERROR"},
		"WINDOW_UPDATE of nothing":        {func(h *hostile) { h.WriteWindowUpdate(0, 0) }, "goaway PROTOCOL_ERROR"},
		"a window beyond 2^31":            {func(h *hostile) { h.WriteWindowUpdate(0, 1<<31-1); h.WriteWindowUpdate(0, 1<<31-1) }, "goaway FLOW_CONTROL_ERROR"},
		"PUSH_PROMISE": {func(h *hostile) {
			h.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, "goaway PROTOCOL_ERROR"},
		"a frame too large":       {func(h *hostile) { h.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 17<<10)) }, "goaway FRAME_SIZE_ERROR"},
		"SETTINGS of an odd size": {func(h *hostile) { h.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 5)) }, "goaway FRAME_SIZE_ERROR"},
		"an impossible setting":   {func(h *hostile) { h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }, "goaway FLOW_CONTROL_ERROR"},
		"an interrupted header block": {func(h *hostile) {
			h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.get()})
			h.WritePing(false, [8]byte{})
		}, "goaway PROTOCOL_ERROR"},
		"CONTINUATION out of the blue": {func(h *hostile) { h.WriteContinuation(1, true, h.get()) }, "goaway PROTOCOL_ERROR"},
		"HPACK that is none":           {func(h *hostile) { h.open([]byte{0xff, 0xff, 0xff, 0xff, 0xff}, true) }, "goaway COMPRESSION_ERROR"},
		"HPACK that is none in a CONTINUATION": {func(h *hostile) {
			h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.get()})
			h.WriteContinuation(1, true, []byte{0x80})
		}, "goaway COMPRESSION_ERROR"},
		"HPACK naming an empty table": {func(h *hostile) { h.open([]byte{0xbe}, true) }, "goaway COMPRESSION_ERROR"},
		"more than the connection window": {func(h *hostile) {
			id := h.open(h.get(), false)
			for range 1200 {
				h.WriteData(id, false, make([]byte, 16<<10))
			}
		}, "reset FLOW_CONTROL_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, hanging(t), nil)
			h := attack(t, b)
			go c.do(h)
			if got := h.verdict(t, 1); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if got, want := b.relay.book.wait(), "http2."+strings.ToLower(strings.Fields(c.want)[1]); len(got) != 1 || got[0] != want {
				t.Errorf("counted as %q, want %s", got, want)
			}
		})
	}
}

// hanging is a relay whose upstream accepts everything and answers nothing.
func hanging(t testing.TB) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, nc)
		}
	}()
	return &relay{dial: to(t, l.Addr().String())}
}

func TestFloods(t *testing.T) {
	const most = 1_000_000
	for name, c := range map[string]struct {
		frame  func(h *hostile) error
		reason string
	}{
		"PING":                     {func(h *hostile) error { return h.WritePing(false, [8]byte{}) }, "http2.ping_flood"},
		"SETTINGS":                 {func(h *hostile) error { return h.WriteSettings() }, "http2.settings_flood"},
		"PRIORITY":                 {func(h *hostile) error { return h.WritePriority(3, http2.PriorityParam{}) }, "http2.control_flood"},
		"WINDOW_UPDATE":            {func(h *hostile) error { return h.WriteWindowUpdate(0, 1) }, "http2.window_update_flood"},
		"frames of unknown types":  {func(h *hostile) error { return h.WriteRawFrame(0xbb, 0, 0, nil) }, "http2.control_flood"},
		"empty DATA":               {func(h *hostile) error { return h.WriteData(1, false, nil) }, "http2.empty_data_flood"},
		"streams reset at once":    {func(h *hostile) error { return h.WriteRSTStream(h.open(h.get(), true), http2.ErrCodeCancel) }, "http2.rapid_reset"},
		"streams made to be reset": {func(h *hostile) error { return h.WriteWindowUpdate(h.open(h.get(), false), 1<<31-1) }, "http2.rapid_reset"},
		"malformed requests":       {func(h *hostile) error { h.open(h.fields("x", "y"), true); return h.err }, "http2.rapid_reset"},
	} {
		t.Run(name, func(t *testing.T) {
			r := hanging(t)
			r.still = true // a slow attack would be none
			b := serve(t, r, nil)
			h := attack(t, b)
			_ = h.nc.SetDeadline(time.Now().Add(time.Minute))
			h.open(h.get(), false)
			sent := make(chan int, 1)
			go func() {
				n := 0
				for ; n < most; n++ {
					if c.frame(h) != nil {
						break
					}
				}
				sent <- n
			}()
			code := ""
			for {
				f, err := h.ReadFrame()
				if err != nil {
					break
				}
				if g, ok := f.(*http2.GoAwayFrame); ok {
					code = g.ErrCode.String()
					break
				}
			}
			h.nc.Close()
			if n := <-sent; n == most || code != "ENHANCE_YOUR_CALM" {
				t.Errorf("%d frames sent, connection ended with %q", n, code)
			}
			if got := b.relay.book.of(c.reason); got != 1 {
				t.Errorf("counted %d times as %s: %q", got, c.reason, b.relay.book.wait())
			}
		})
	}
}

func TestContinuationFlood(t *testing.T) {
	b := serve(t, hanging(t), nil)
	h := attack(t, b)
	go func() {
		_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.get()})
		for h.WriteContinuation(1, false, nil) == nil {
		}
	}()
	if got := h.verdict(t, 1); got != "goaway ENHANCE_YOUR_CALM" {
		t.Errorf("got %s", got)
	}
	if got := b.relay.book.wait(); len(got) != 1 || got[0] != "http2.continuation_flood" {
		t.Errorf("counted as %q", got)
	}
}

// One field of 4 KiB put into the table, then named 10,000 times: 10 KB that would become 40 MB.
func TestHPACKBomb(t *testing.T) {
	b := serve(t, answering(exchange.NoRoute), nil)
	h := attack(t, b)
	block := bytes.Clone(h.get("x", strings.Repeat("a", 4000)))
	block = append(block, bytes.Repeat([]byte{0xbe}, 10_000)...)
	if got := h.verdict(t, h.open(block, true)); got != "431" {
		t.Errorf("got %s", got)
	}
	if got := h.verdict(t, h.open(h.get(), true)); got != "404" {
		t.Errorf("then got %s", got)
	}
}

func TestStreamsBeyondTheLimitAreRefused(t *testing.T) {
	b := serve(t, hanging(t), func(h *config.HTTP) { h.MaxStreams = 8 })
	h := attack(t, b)
	for range 8 {
		h.open(h.get(), true)
	}
	if got := h.verdict(t, h.open(h.get(), true)); got != "reset REFUSED_STREAM" {
		t.Errorf("got %s", got)
	}
}

func TestResettingMakesNoRoom(t *testing.T) {
	r := answering(exchange.OK)
	gate := make(chan struct{})
	r.dial = func() (exchange.Transport, error) { <-gate; return nil, errors.New("no") }
	b := serve(t, r, func(h *config.HTTP) { h.MaxStreams = 8 })
	defer close(gate)
	h := attack(t, b)
	for range 9 {
		h.must(t, h.WriteRSTStream(h.open(h.get(), true), http2.ErrCodeCancel))
	}
	if got := h.verdict(t, h.open(h.get(), true)); got != "reset REFUSED_STREAM" {
		t.Errorf("got %s", got)
	}
}

func TestSlowHeaderBlock(t *testing.T) {
	b := serve(t, hanging(t), func(h *config.HTTP) { h.HeadTimeout = 50 * time.Millisecond })
	h := attack(t, b)
	h.must(t, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.get()}))
	if got := h.verdict(t, 1); got != "closed" && got != "goaway NO_ERROR" {
		t.Errorf("got %s", got)
	}
}

func TestIdleConnectionEnds(t *testing.T) {
	b := serve(t, answering(exchange.NoRoute), func(h *config.HTTP) { h.IdleTimeout = 80 * time.Millisecond })
	h := attack(t, b)
	if got := h.verdict(t, h.open(h.get(), true)); got != "404" {
		t.Fatalf("got %s", got)
	}
	if got := h.verdict(t, 99); got != "goaway NO_ERROR" {
		t.Errorf("got %s", got)
	}
	if _, err := h.ReadFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("still open: %v", err)
	}
}

// TestOldConnectionEnds: a connection that is too old serves its streams to their end, and ends with them.
func TestOldConnectionEnds(t *testing.T) {
	b := serve(t, hanging(t), func(h *config.HTTP) { h.MaxConnection = 80 * time.Millisecond })
	h := attack(t, b)
	busy := h.open(h.get(), true)
	for last := uint32(math.MaxInt32); last > busy; {
		f, err := h.ReadFrame()
		h.must(t, err)
		switch f := f.(type) {
		case *http2.PingFrame:
			h.must(t, h.WritePing(true, f.Data))
		case *http2.GoAwayFrame:
			if last = f.LastStreamID; f.ErrCode != http2.ErrCodeNo || last < busy {
				t.Fatalf("got %v", f)
			}
		}
	}
	h.must(t, h.WriteRSTStream(busy, http2.ErrCodeCancel))
	for {
		if _, err := h.ReadFrame(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("still open: %v", err)
			}
			return
		}
	}
}

func TestNoPreface(t *testing.T) {
	b := serve(t, hanging(t), nil)
	nc, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nPadding: xxxxxxxxxxxxxxx\r\n\r\n")
	_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, nc); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("not closed: %v", err)
	}
	if got := b.relay.book.wait(); len(got) != 1 || got[0] != "http2.no_preface" {
		t.Errorf("counted as %q", got)
	}
}

func TestFramesOnClosedStreams(t *testing.T) {
	for name, c := range map[string]struct {
		end  bool // the request ends with its head
		do   func(h *hostile, id uint32)
		want string
	}{
		"DATA after END_STREAM":            {true, func(h *hostile, id uint32) { _ = h.WriteData(id, true, nil) }, "goaway STREAM_CLOSED"},
		"HEADERS after END_STREAM":         {true, func(h *hostile, id uint32) { h.next = id; h.open(h.get(), true) }, "goaway STREAM_CLOSED"},
		"a number below the last":          {true, func(h *hostile, id uint32) { h.next = id - 2; h.open(h.get(), true) }, "goaway STREAM_CLOSED"},
		"DATA after an early answer":       {false, func(h *hostile, id uint32) { _ = h.WriteData(id, true, nil); h.open(h.get(), true) }, "404"},
		"HEADERS after an early answer":    {false, func(h *hostile, id uint32) { h.next = id; h.open(h.get(), true); h.open(h.get(), true) }, "404"},
		"WINDOW_UPDATE on a closed stream": {true, func(h *hostile, id uint32) { _ = h.WriteWindowUpdate(id, 1); h.open(h.get(), true) }, "404"},
		"RST_STREAM on a closed stream":    {true, func(h *hostile, id uint32) { _ = h.WriteRSTStream(id, 0); h.open(h.get(), true) }, "404"},
	} {
		closes := func(t *testing.T, r *relay) {
			b := serve(t, r, nil)
			h := attack(t, b)
			h.next = 5
			id := h.open(h.get(), c.end)
			if got := h.verdict(t, id); got != "404" {
				t.Fatalf("got %s", got)
			}
			for b.relay.count() == 0 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(10 * time.Millisecond) // the stream's end follows its record
			c.do(h, id)
			if got := h.verdict(t, id+2); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		}
		t.Run(name, func(t *testing.T) { closes(t, answering(exchange.NoRoute)) })
		t.Run(name+", its handler not yet ended", func(t *testing.T) {
			r := answering(exchange.NoRoute)
			r.stays = make(chan struct{})
			defer close(r.stays) // before the bench waits for its handlers
			closes(t, r)
		})
	}
}

// A client that has reset a stream has closed it itself: what it goes on to send there breaks the rules, also once the exchange has ended.
func TestFramesAfterReset(t *testing.T) {
	for name, do := range map[string]func(h *hostile, id uint32){
		"DATA":    func(h *hostile, id uint32) { _ = h.WriteData(id, true, []byte("x")) },
		"HEADERS": func(h *hostile, id uint32) { h.next = id; h.open(h.get(), true) },
	} {
		for _, ended := range []bool{false, true} {
			b := serve(t, hanging(t), nil)
			h := attack(t, b)
			id := h.open(h.get(), false)
			time.Sleep(20 * time.Millisecond) // its handler has begun
			_ = h.WriteRSTStream(id, http2.ErrCodeCancel)
			if ended {
				for range 200 {
					if b.relay.count() > 0 {
						break
					}
					time.Sleep(5 * time.Millisecond)
				}
				time.Sleep(10 * time.Millisecond) // the stream's end follows its record
			}
			do(h, id)
			_ = h.nc.SetDeadline(time.Now().Add(2 * time.Second))
			if got := h.verdict(t, id+2); got != "goaway STREAM_CLOSED" {
				t.Errorf("%s, ended %v: got %s", name, ended, got)
			}
		}
	}
}

// What a client had sent before it could know of the drain is ignored, not punished.
func TestDrainForgivesWhatComesLate(t *testing.T) {
	b := serve(t, hanging(t), nil)
	h := attack(t, b)
	h.open(h.get(), true) // keeps the connection open
	b.drain.Begin()
	goaways := 0
	for goaways < 2 {
		f, err := h.ReadFrame()
		h.must(t, err)
		switch f := f.(type) {
		case *http2.PingFrame:
			h.must(t, h.WritePing(true, f.Data))
		case *http2.GoAwayFrame:
			goaways++
		}
	}
	late := h.open(h.get(), false)
	h.must(t, h.WriteData(late, true, []byte("late")))
	h.must(t, h.WritePing(false, [8]byte{1}))
	for {
		f, err := h.ReadFrame()
		h.must(t, err)
		if g, ok := f.(*http2.GoAwayFrame); ok {
			t.Fatalf("got %v", g)
		}
		if p, ok := f.(*http2.PingFrame); ok && p.IsAck() {
			return
		}
	}
}

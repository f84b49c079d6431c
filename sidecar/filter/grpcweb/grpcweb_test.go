package grpcweb

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// browser is the client's half of an exchange: it sends pieces and keeps what it gets.
type browser struct {
	exchange.Downstream
	pieces []string
	heads  int
	ended  bool
	got    bytes.Buffer
}

func (b *browser) BodyBuffered() (exchange.View, bool) {
	if len(b.pieces) != 1 {
		return nil, false
	}
	return exchange.View(b.pieces[0]), true
}

func (b *browser) ReadBody() (exchange.View, bool, error) {
	p := b.pieces[0]
	b.pieces = b.pieces[1:]
	return exchange.View(p), len(b.pieces) == 0, nil
}

func (b *browser) WriteHead(end bool) error { b.heads++; b.ended = end; return nil }

func (b *browser) WriteBody(p []byte, end bool) error { b.got.Write(p); b.ended = end; return nil }

func (b *browser) Flush() error { return nil }

// call has the filter look at a request and returns what the upstream's side sees of its client.
func call(t *testing.T, b *browser, contentType, accept string) (*exchange.Exchange, exchange.Downstream) {
	t.Helper()
	x := &exchange.Exchange{}
	x.Request.Add("content-type", contentType)
	x.Request.Add("content-length", "12")
	if accept != "" {
		x.Request.Add("accept", accept)
	}
	if o := New().Request(x); o != exchange.OK {
		t.Fatal(o)
	}
	if x.Bridge == nil {
		return x, nil
	}
	return x, x.Bridge(b)
}

func TestOtherRequestsStay(t *testing.T) {
	for _, kind := range []string{"application/grpc", "application/grpc+proto", "application/json", "", "application/grpc-webby", "application/grpc-web+json"} {
		x, d := call(t, nil, kind, "")
		if d != nil || x.GRPC || string(x.Request.Get("content-type")) != kind || !x.Request.Has("content-length") {
			t.Errorf("%q: got %+v", kind, x.Request.Fields)
		}
	}
}

// read reads the request's body as forward does.
func read(d exchange.Downstream) (string, error) {
	if p, whole := d.BodyBuffered(); whole {
		return string(p), nil
	}
	out := ""
	for {
		p, end, err := d.ReadBody()
		if err != nil {
			return out, err
		}
		if out += string(p); end {
			return out, nil
		}
	}
}

func TestRequest(t *testing.T) {
	one, two := "\x00\x00\x00\x00\x02hi", "\x00\x00\x00\x00\x03you"
	enc := base64.StdEncoding.EncodeToString
	all := enc([]byte(one + two))
	for name, c := range map[string]struct {
		kind   string
		pieces []string
		want   string // "": refused
	}{
		"binary, whole":                    {"application/grpc-web", []string{one}, one},
		"binary, in pieces":                {"application/grpc-web+proto", []string{one, two}, one + two},
		"text, whole":                      {"application/grpc-web-text", []string{all}, one + two},
		"text, byte by byte":               {"application/grpc-web-text+proto", strings.Split(all, ""), one + two},
		"text, each message padded":        {"application/grpc-web-text", []string{enc([]byte(one)) + enc([]byte(two))}, one + two},
		"text, padded, cut":                {"application/grpc-web-text", []string{enc([]byte(one))[:5], enc([]byte(one))[5:] + enc([]byte(two))}, one + two},
		"text, cut short":                  {"application/grpc-web-text", []string{all[:len(all)-1]}, ""},
		"text, cut short, in pieces":       {"application/grpc-web-text", []string{all[:3], all[3 : len(all)-1]}, ""},
		"text that is none":                {"application/grpc-web-text", []string{"****"}, ""},
		"text with line ends":              {"application/grpc-web-text", []string{"\r\n\r\n"}, ""},
		"text that is none, in pieces":     {"application/grpc-web-text", []string{all[:4], "*", "***"}, ""},
		"text that is padded in the wrong": {"application/grpc-web-text", []string{"a=bc"}, ""},
	} {
		x, d := call(t, &browser{pieces: c.pieces}, c.kind, "")
		got, err := read(d)
		switch {
		case c.want == "" && (err != exchange.ErrProtocol || x.Text() != detailsBase64):
			t.Errorf("%s: got %q %v, %s", name, got, err, x.Text())
		case c.want != "" && (err != nil || got != c.want):
			t.Errorf("%s: got %q %v", name, got, err)
		}
		h := &x.Request
		if !x.GRPC || !h.Get("content-type").Is("application/grpc") || h.Has("content-length") || !h.Get("grpc-accept-encoding").Is("identity") {
			t.Errorf("%s: head %+v", name, h.Fields)
		}
	}
}

func TestResponse(t *testing.T) {
	message := "\x00\x00\x00\x00\x05hello"
	trailers := "\x80\x00\x00\x00\x1egrpc-status:0\r\ngrpc-message:\r\n"
	enc := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		accept, kind, want string
	}{
		"binary": {"", proto, message + message + trailers},
		"text":   {"application/grpc-web-text", text, enc(message) + enc(message) + enc(trailers)},
		"other":  {"*/*", proto, message + message + trailers},
	} {
		for cut := range len(message) {
			b := &browser{}
			x, d := call(t, b, "application/grpc-web", c.accept)
			x.Response.Status = 200
			x.Response.Add("content-type", "application/grpc")
			x.Response.Add("content-length", "20")
			body := message + message
			var end exchange.Head
			end.Add("grpc-status", "0")
			end.Add("grpc-message", "")
			if err := firstOf(d.WriteHead(false), d.WriteBody([]byte(body[:cut]), false), d.Flush(), d.WriteBody([]byte(body[cut:]), false), d.WriteTrailers(&end)); err != nil {
				t.Fatal(err)
			}
			if b.got.String() != c.want || !b.ended || b.heads != 1 || !x.Response.Get("content-type").Is(c.kind) || x.Response.Has("content-length") {
				t.Errorf("%s, cut after %d: got %q, %+v", name, cut, b.got.String(), x.Response.Fields)
			}
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestTrailersOnly(t *testing.T) {
	b := &browser{}
	x, d := call(t, b, "application/grpc-web", "")
	x.Response.Status = 200
	x.Response.Add("content-type", "application/grpc")
	x.Response.Add("grpc-status", "7")
	if err := d.WriteHead(true); err != nil || !b.ended || !x.Response.Get("content-type").Is(proto) || !x.Response.Get("grpc-status").Is("7") {
		t.Errorf("got %v %+v", err, x.Response.Fields)
	}
}

// An answer that is not gRPC says so in the head, and nothing of it reaches the client before that.
func TestForeignAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		status           int
		kind, body       string
		grpc, message    string
		trailers, pieces bool
	}{
		"an error":            {503, "text/plain", "no healthy upstream", "14", "no healthy upstream", false, false},
		"an error in pieces":  {404, "text/html", "100% <b>\n", "12", "100%25 <b>%0A", false, true},
		"a page":              {200, "text/html", "hello", "2", "hello", false, false},
		"an error with gRPC":  {500, "application/grpc", "x", "2", "x", true, false},
		"a body that is long": {500, "text/plain", strings.Repeat("x", maxMessage+5), "2", strings.Repeat("x", maxMessage), false, true},
	} {
		b := &browser{}
		x, d := call(t, b, "application/grpc-web", "")
		x.Response.Status = c.status
		x.Response.Add("content-type", c.kind)
		if err := firstOf(d.WriteHead(false), d.Flush()); err != nil || b.heads != 0 {
			t.Fatalf("%s: %v, %d heads", name, err, b.heads)
		}
		err := error(nil)
		if c.pieces {
			err = firstOf(d.WriteBody([]byte(c.body[:3]), false), d.WriteBody([]byte(c.body[3:]), true))
		} else if err = d.WriteBody([]byte(c.body), !c.trailers); c.trailers {
			err = firstOf(err, d.WriteTrailers(&exchange.Head{}))
		}
		h := &x.Response
		if err != nil || b.heads != 1 || !b.ended || b.got.Len() != 0 || h.Status != c.status {
			t.Errorf("%s: %v, %d heads, body %q", name, err, b.heads, b.got.String())
		}
		if string(h.Get("grpc-status")) != c.grpc || string(h.Get("grpc-message")) != c.message || !h.Get("content-length").Is("0") {
			t.Errorf("%s: got %+v", name, h.Fields)
		}
	}
}

// FuzzDecode holds that base64 that is cut anywhere says what it says in one piece, and that nothing breaks the decoder.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("AAAAAAJoaQ==AAAAAAN5b3U="), 5)
	f.Add([]byte("a=bc\r\n"), 1)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		cut = max(0, min(cut, len(p)))
		var once, twice decoder
		errOnce := once.decode(p)
		errTwice := firstOf(twice.decode(p[:cut]), twice.decode(p[cut:]))
		if (errOnce == nil) != (errTwice == nil) {
			t.Fatalf("%q cut at %d: %v, %v", p, cut, errOnce, errTwice)
		}
		if errOnce == nil && !bytes.Equal(once.out, twice.out) {
			t.Fatalf("%q cut at %d: %q, %q", p, cut, once.out, twice.out)
		}
		if want, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(p))); err == nil && errOnce == nil && once.even() && !bytes.HasPrefix(once.out, want) {
			t.Fatalf("%q: got %q, want %q", p, once.out, want)
		}
	})
}

package block

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func encode(kv ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(kv); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return b.Bytes()
}

func decode(k Kind, p []byte) *Decoder {
	d := NewDecoder(8<<10, 50)
	d.Begin(k)
	if !d.Write(p) || !d.End() {
		return nil
	}
	return d
}

// show prints a head on one line.
func show(h *exchange.Head) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s %d", h.Method, h.Scheme, h.Authority, h.Path, h.Status)
	for _, f := range h.Fields {
		fmt.Fprintf(&b, " %s=%s", f.Name, f.Value)
	}
	return b.String()
}

func TestHeads(t *testing.T) {
	request := []string{":method", "GET", ":scheme", "https", ":authority", "a:1", ":path", "/x?y"}
	for name, c := range map[string]struct {
		kind   Kind
		fields []string
		want   string
	}{
		"a request":                          {Request, append(request, "accept", "*/*"), "GET https a:1 /x?y 0 accept=*/*"},
		"crumbs of a cookie become one":      {Request, append(request, "cookie", "a=1", "x", "y", "cookie", "b=2"), "GET https a:1 /x?y 0 x=y cookie=a=1; b=2"},
		"host becomes the authority":         {Request, []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "h"}, "GET http h / 0"},
		"te stays":                           {Request, append(request, "te", "trailers"), "GET https a:1 /x?y 0 te=trailers"},
		"extended CONNECT":                   {Request, []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "a"}, "CONNECT http a / 0"},
		"a response":                         {Response, []string{":status", "204", "etag", `"x"`}, `    204 etag="x"`},
		"a response keeps cookies apart":     {Response, []string{":status", "200", "set-cookie", "a", "set-cookie", "b"}, "    200 set-cookie=a set-cookie=b"},
		"trailers":                           {Trailers, []string{"grpc-status", "0"}, "    0 grpc-status=0"},
		"announced trailers drop the length": {Response, []string{":status", "200", "content-length", "5", "trailer", "x"}, "    200 trailer=x"},
	} {
		t.Run(name, func(t *testing.T) {
			d := decode(c.kind, encode(c.fields...))
			if d == nil || d.Verdict != Good {
				t.Fatalf("got %+v", d)
			}
			if got := show(&d.Head); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	many := make([]string, 0, 200)
	for range 60 {
		many = append(many, "x", "y")
	}
	for name, c := range map[string]struct {
		kind   Kind
		fields []string
		want   Verdict
	}{
		"no status":                   {Response, []string{"x", "y"}, Malformed},
		"status of two digits":        {Response, []string{":status", "20"}, Malformed},
		"status 101":                  {Response, []string{":status", "101"}, Malformed},
		"two statuses":                {Response, []string{":status", "200", ":status", "200"}, Malformed},
		"a request's field":           {Response, []string{":status", "200", ":path", "/"}, Malformed},
		"connection in a response":    {Response, []string{":status", "200", "connection", "close"}, Malformed},
		"a pseudo field in trailers":  {Trailers, []string{":status", "200"}, Malformed},
		"content-length in trailers":  {Trailers, []string{"content-length", "1"}, Malformed},
		"an empty name":               {Trailers, []string{"", "1"}, Malformed},
		"a value with a space behind": {Trailers, []string{"a", "1 "}, Malformed},
		"a length beyond 10^18":       {Response, []string{":status", "200", "content-length", "1234567890123456789"}, Malformed},
		"too many fields":             {Trailers, many, TooLarge},
		"too many bytes":              {Trailers, []string{"x", strings.Repeat("y", 8<<10)}, TooLarge},
		"an ignored block":            {Ignored, []string{"Whatever", "\x00"}, Good},
	} {
		t.Run(name, func(t *testing.T) {
			d := decode(c.kind, encode(c.fields...))
			if d == nil {
				t.Fatal("the block was refused")
			}
			if d.Verdict != c.want {
				t.Errorf("got %d, want %d", d.Verdict, c.want)
			}
		})
	}
}

// A block that is not used must leave the table as its sender believes it to be.
func TestTableStaysInStep(t *testing.T) {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	put := func(kv ...string) []byte {
		b.Reset()
		for i := 0; i < len(kv); i += 2 {
			_ = e.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
		}
		return b.Bytes()
	}
	d := NewDecoder(1<<10, 10)
	for _, c := range []struct {
		kind  Kind
		block []byte
	}{
		{Ignored, bytes.Clone(put("one", "1"))},
		{Trailers, bytes.Clone(put("Bad", "x", "two", "2"))},
		{Trailers, bytes.Clone(put("x", strings.Repeat("y", 1100), "three", "3"))},
	} {
		d.Begin(c.kind)
		if !d.Write(c.block) || !d.End() {
			t.Fatal("refused")
		}
	}
	d.Begin(Trailers)
	if !d.Write(put("one", "1", "two", "2", "three", "3")) || !d.End() || show(&d.Head) != "    0 one=1 two=2 three=3" {
		t.Errorf("got %s", show(&d.Head))
	}
}

func TestEncoder(t *testing.T) {
	var h exchange.Head
	h.Method, h.Scheme, h.Authority, h.Path = exchange.View("POST"), exchange.View("http"), exchange.View("a"), exchange.View("/s/M")
	for _, kv := range [][2]string{{"content-type", "application/grpc+proto"}, {"connection", "close"}, {"te", "gzip"}, {"upgrade", "h2c"},
		{"transfer-encoding", "chunked"}, {"keep-alive", "1"}, {"host", "b"}, {"grpc-timeout", "1S"}, {"x", ""}} {
		h.Add(kv[0], kv[1])
	}
	e := NewEncoder()
	fields := func(p []byte) string {
		fs, err := hpack.NewDecoder(TableSize, nil).DecodeFull(p)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, f := range fs {
			fmt.Fprintf(&b, "%s=%s ", f.Name, f.Value)
		}
		return b.String()
	}
	const want = ":method=POST :scheme=http :path=/s/M :authority=a content-type=application/grpc+proto grpc-timeout=1S x= te=trailers "
	first := bytes.Clone(e.Request(&h, ""))
	if got := fields(first); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if second := e.Request(&h, ""); len(second) >= len(first)/2 {
		t.Errorf("the second block has %d bytes, the first %d: the table is not used", len(second), len(first))
	}
	if e.kept == nil {
		t.Error("no string is kept")
	}
}

func TestSecretsAreNeverIndexed(t *testing.T) {
	var h exchange.Head
	h.Add("authorization", "Bearer secret")
	e := NewEncoder()
	first := len(e.Trailers(&h))
	if second := len(e.Trailers(&h)); second != first {
		t.Errorf("%d bytes, then %d: the table remembers a secret", first, second)
	}
}

// Whatever is accepted must come out of the encoder, and back in, unchanged, and be safe to write as HTTP/1.
func FuzzDecoder(f *testing.F) {
	f.Add(uint8(0), encode(":method", "GET", ":scheme", "https", ":authority", "a:1", ":path", "/x?y", "cookie", "a", "cookie", "b", "x", "y"))
	f.Add(uint8(1), encode(":status", "200", "content-length", "3"))
	f.Add(uint8(2), encode("grpc-status", "0"))
	f.Fuzz(func(t *testing.T, kind uint8, p []byte) {
		d := decode(Kind(kind%3), p)
		if d == nil || d.Verdict != Good || d.Protocol != nil {
			return
		}
		for _, fd := range d.Head.Fields {
			if bytes.ContainsAny(fd.Name, "\r\n: \x00") || bytes.ContainsAny(fd.Value, "\r\n\x00") || len(fd.Name) == 0 {
				t.Fatalf("%q: %q", fd.Name, fd.Value)
			}
		}
		for _, v := range []exchange.View{d.Head.Method, d.Head.Path, d.Head.Authority} {
			if bytes.ContainsAny(v, " \r\n\x00") {
				t.Fatalf("%q", v)
			}
		}
		e := NewEncoder()
		var again []byte
		switch d.Kind {
		case Request:
			again = e.Request(&d.Head, "")
		case Response:
			again = e.Response(&d.Head)
		default:
			again = e.Trailers(&d.Head)
		}
		back := decode(d.Kind, again)
		if back == nil || back.Verdict == Malformed {
			t.Fatalf("%s does not come back", show(&d.Head))
		}
		if back.Verdict == Good && show(&back.Head) != show(&d.Head) {
			t.Fatalf("got  %s\nwant %s", show(&back.Head), show(&d.Head))
		}
	})
}

package session

import (
	"encoding/base64"
	"net/netip"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

var now = time.Unix(1_700_000_000, 0)

// serve has a request with a field answered by the endpoint at an address, and returns the pin and the response's set-cookie and header.
func serve(t *testing.T, c Config, path, name, value, at string) (exchange.Pin, string) {
	t.Helper()
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{})
	x.Start = now
	x.Request.Path = x.Request.Intern(path)
	if name != "" {
		x.Request.Add(name, value)
	}
	if o := f.Request(x); o != exchange.OK {
		t.Fatalf("outcome %v", o)
	}
	pin := x.Pin
	if at != "" {
		x.Upstream.Endpoint, x.FirstByte = &exchange.Endpoint{Address: netip.MustParseAddrPort(at)}, now
	}
	f.Response(x)
	if c.Header != "" {
		return pin, x.Response.Get(c.Header).Copy()
	}
	return pin, x.Response.Get("set-cookie").Copy()
}

func TestCookie(t *testing.T) {
	const one, two = "10.0.0.1:80", "10.0.0.2:80"
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	forOne := b64("\x0a\x0b" + one)
	for name, c := range map[string]struct {
		cfg               Config
		path, cookie, at  string
		pinned, setCookie string
	}{
		"the first time":                {Config{Cookie: "s"}, "/", "", one, "", `s="` + forOne + `"; HttpOnly`},
		"the next time":                 {Config{Cookie: "s"}, "/", "a=b; s=" + forOne, one, one, ""},
		"in quotes":                     {Config{Cookie: "s"}, "/", `s="` + forOne + `"`, one, one, ""},
		"served by another one":         {Config{Cookie: "s"}, "/", "s=" + forOne, two, one, `s="` + b64("\x0a\x0b"+two) + `"; HttpOnly`},
		"nobody answered":               {Config{Cookie: "s"}, "/", "", "", "", ""},
		"an older form":                 {Config{Cookie: "s"}, "/", "s=" + b64(one), one, one, ""},
		"nonsense":                      {Config{Cookie: "s"}, "/", "s=%%%", one, "", `s="` + forOne + `"; HttpOnly`},
		"a message that is cut":         {Config{Cookie: "s"}, "/", "s=" + b64("\x0a\x0b10."), one, "", `s="` + forOne + `"; HttpOnly`},
		"with a time and a path":        {Config{Cookie: "s", TTL: 60 * time.Second, Path: "/a"}, "/a/b", "", one, "", `s="` + b64("\x0a\x0b"+one+"\x10\xbc\xe2\xcf\xaa\x06") + `"; Max-Age=60; Path=/a; HttpOnly`},
		"in its time":                   {Config{Cookie: "s", TTL: 60 * time.Second}, "/", "s=" + b64("\x0a\x0b"+one+"\x10\xbc\xe2\xcf\xaa\x06"), one, one, ""},
		"after its time":                {Config{Cookie: "s", TTL: 60 * time.Second}, "/", "s=" + b64("\x0a\x0b"+one+"\x10\x01"), one, "", `s="` + b64("\x0a\x0b"+one+"\x10\xbc\xe2\xcf\xaa\x06") + `"; Max-Age=60; HttpOnly`},
		"another path":                  {Config{Cookie: "s", Path: "/a"}, "/ab", "s=" + forOne, one, "", ""},
		"the path itself, with a query": {Config{Cookie: "s", Path: "/a"}, "/a?b", "s=" + forOne, one, one, ""},
		"a filter that keeps nobody":    {Config{}, "/", "s=" + forOne, one, "", ""},
	} {
		field := "cookie"
		if c.cookie == "" {
			field = ""
		}
		pin, got := serve(t, c.cfg, c.path, field, c.cookie, c.at)
		if pin.Address != c.pinned || got != c.setCookie {
			t.Errorf("%s: pinned to %q, set-cookie %s; want %q, %s", name, pin.Address, got, c.pinned, c.setCookie)
		}
	}
}

func TestHeader(t *testing.T) {
	const one, encoded = "10.0.0.1:80", "MTAuMC4wLjE6ODA="
	pin, got := serve(t, Config{Header: "x-session", Strict: true}, "/", "", "", one)
	if pin != (exchange.Pin{On: true, Strict: true}) || got != encoded {
		t.Errorf("first: %+v, %q", pin, got)
	}
	pin, got = serve(t, Config{Header: "x-session"}, "/", "x-session", encoded, one)
	if pin.Address != one || got != "" {
		t.Errorf("next: %+v, %q", pin, got)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []Config{{Cookie: "a", Header: "b"}, {Cookie: "a", TTL: -1}, {Cookie: "a;b"}, {Cookie: "a", Path: "/;x"}, {Header: "a b"}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

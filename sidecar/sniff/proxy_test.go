package sniff

import (
	"net/netip"
	"strings"
	"testing"
)

func TestProxy(t *testing.T) {
	const (
		v2   = "\r\n\r\n\x00\r\nQUIT\n"
		four = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb"
		six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x30\x39\x01\xbb"
	)
	for name, c := range map[string]struct {
		in       string
		from, to string // "": nobody
		rest     string // after the header
		verdict  Verdict
		begun    bool
	}{
		"v1, IPv4":                         {"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nGET", "192.0.2.1:12345", "198.51.100.2:443", "GET", Yes, true},
		"v1, IPv6":                         {"PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n", "[2001:db8::1]:12345", "[2001:db8::2]:443", "", Yes, true},
		"v1, nobody known":                 {"PROXY UNKNOWN\r\nx", "", "", "x", Yes, true},
		"v1, nobody known, with addresses": {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "", "", "", Yes, true},
		"v1, not yet whole":                {"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r", "", "", "", More, true},
		"v1, hardly begun":                 {"PRO", "", "", "", More, true},
		"v1, wrong family":                 {"PROXY TCP6 192.0.2.1 198.51.100.2 12345 443\r\n", "", "", "", No, true},
		"v1, unknown family":               {"PROXY UDP4 192.0.2.1 198.51.100.2 12345 443\r\n", "", "", "", No, true},
		"v1, a port too high":              {"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", "", "", "", No, true},
		"v1, a signed port":                {"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n", "", "", "", No, true},
		"v1, a word too few":               {"PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n", "", "", "", No, true},
		"v1, two spaces":                   {"PROXY TCP4  192.0.2.1 198.51.100.2 12345 443\r\n", "", "", "", No, true},
		"v1, a zone":                       {"PROXY TCP6 fe80::1%eth0 2001:db8::2 12345 443\r\n", "", "", "", No, true},
		"v1, multicast":                    {"PROXY TCP4 224.0.0.1 198.51.100.2 12345 443\r\n", "", "", "", No, true},
		"v1, any address":                  {"PROXY TCP4 0.0.0.0 198.51.100.2 12345 443\r\n", "", "", "", No, true},
		"v1, endless":                      {"PROXY " + strings.Repeat("x", 110), "", "", "", No, true},
		"v1, as long as may be":            {"PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", "", "", "", Yes, true},
		"v2, IPv4":                         {v2 + "\x21\x11\x00\x0c" + four + "GET", "192.0.2.1:12345", "198.51.100.2:443", "GET", Yes, true},
		"v2, IPv4, datagrams":              {v2 + "\x21\x12\x00\x0c" + four, "192.0.2.1:12345", "198.51.100.2:443", "", Yes, true},
		"v2, IPv6":                         {v2 + "\x21\x21\x00\x24" + six, "[2001:db8::1]:12345", "[2001:db8::2]:443", "", Yes, true},
		"v2, extensions":                   {v2 + "\x21\x11\x00\x11" + four + "\x04\x00\x02xyGET", "192.0.2.1:12345", "198.51.100.2:443", "GET", Yes, true},
		"v2, a broken extension":           {v2 + "\x21\x11\x00\x11" + four + "\x04\x00\x03xyGET", "", "", "", No, true},
		"v2, the proxy itself":             {v2 + "\x20\x00\x00\x00GET", "", "", "GET", Yes, true},
		"v2, the proxy itself, and more":   {v2 + "\x20\x11\x00\x0c" + four + "GET", "", "", "GET", Yes, true},
		"v2, not yet whole":                {v2 + "\x21\x11\x00\x0c" + four[:11], "", "", "", More, true},
		"v2, hardly begun":                 {v2[:5], "", "", "", More, true},
		"v2, too short for addresses":      {v2 + "\x21\x21\x00\x0c" + four, "", "", "", No, true},
		"v2, a Unix socket":                {v2 + "\x21\x31\x00\xd8", "", "", "", No, true},
		"v2, no family":                    {v2 + "\x21\x00\x00\x00", "", "", "", No, true},
		"v2, unknown command":              {v2 + "\x22\x11\x00\x0c" + four, "", "", "", No, true},
		"v2, another version":              {v2 + "\x11\x11\x00\x0c" + four, "", "", "", No, true},
		"v2, broadcast":                    {v2 + "\x21\x11\x00\x0c\xff\xff\xff\xff" + four[4:], "", "", "", No, true},
		"HTTP":                             {"GET / HTTP/1.1\r\n", "", "", "", No, false},
		"HTTP that looks like it":          {"PROPFIND / HTTP/1.1\r\n", "", "", "", No, false},
		"TLS":                              {"\x16\x03\x01", "", "", "", No, false},
		"nothing":                          {"", "", "", "", More, true},
	} {
		in, begun, v := Proxy([]byte(c.in))
		if v != c.verdict || begun != c.begun {
			t.Errorf("%s: got %v, begun %v", name, v, begun)
			continue
		}
		if text(in.Source) != c.from || text(in.Destination) != c.to {
			t.Errorf("%s: from %s to %s", name, text(in.Source), text(in.Destination))
		}
		if v == Yes && c.in[in.Len:] != c.rest {
			t.Errorf("%s: %q is left", name, c.in[in.Len:])
		}
	}
}

func text(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// FuzzProxy holds that a header reads the same in one piece and byte by byte, and never as longer than it is.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nGET"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		whole, _, want := Proxy(p)
		if want == Yes && (whole.Len <= 0 || whole.Len > len(p)) {
			t.Fatalf("%q: a header of %d bytes", p, whole.Len)
		}
		for n := range len(p) + 1 {
			in, _, v := Proxy(p[:n])
			if v == More {
				continue
			}
			if v != want || in != whole {
				t.Fatalf("%q: %v after %d bytes, %v in the end", p, v, n, want)
			}
			return
		}
		if want != More {
			t.Fatalf("%q: %v, but never while it came", p, want)
		}
	})
}

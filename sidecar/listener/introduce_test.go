package listener

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// whom is a Server that says for whom a connection is, and what it said first.
type whom struct{}

func (whom) Serve(s *Session) {
	defer s.Conn.Close()
	if len(s.Peeked) == 0 {
		s.Peeked = make([]byte, 100)
		n, _ := s.Conn.Read(s.Peeked)
		s.Peeked = s.Peeked[:n]
	}
	f := s.Facts
	_, _ = fmt.Fprintf(s.Conn, "%s for %s to %s by loopback %v: %s %q", f.Chain, f.Source, f.Destination, f.Direct().Addr().IsLoopback(), f.Transport, s.Peeked)
}

// proxied is a listener that proxies connect to, with a chain by port, as the client meant it.
func proxied(p config.Proxied) *config.Listener {
	l := bound("l", &config.FilterChain{Name: "443", Match: config.Match{Port: 443}, TCP: &config.TCP{}}, &config.FilterChain{Name: "any", TCP: &config.TCP{}})
	l.Proxied, l.Inspect = p, config.Inspect{TLS: true, Timeout: 20 * time.Second}
	return l
}

const binaryHeader = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb"

func TestIntroductions(t *testing.T) {
	impatient := proxied(config.Proxies)
	impatient.Inspect.Timeout = 100 * time.Millisecond
	soon := start(t, Servers{TCP: whom{}}, impatient)
	must, may := start(t, Servers{TCP: whom{}}, proxied(config.Proxies)), start(t, Servers{TCP: whom{}}, proxied(config.MayBeProxied))
	for name, c := range map[string]struct {
		to     *bench
		say    []string // in pieces
		want   string   // "": closed
		reason exchange.Outcome
	}{
		"text":                   {must, []string{"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nhello"}, `443 for 192.0.2.1:12345 to 198.51.100.2:443 by loopback true: raw_buffer "hello"`, 0},
		"in pieces":              {must, []string{"PROXY TCP4 192.0.2.1 198.", "51.100.2 12345 443\r", "\n", "hello"}, `443 for 192.0.2.1:12345 to 198.51.100.2:443 by loopback true: raw_buffer "hello"`, 0},
		"binary":                 {must, []string{binaryHeader[:14], binaryHeader[14:] + "hello"}, `443 for 192.0.2.1:12345 to 198.51.100.2:443 by loopback true: raw_buffer "hello"`, 0},
		"IPv6":                   {must, []string{"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\nhello"}, `any for [2001:db8::1]:1 to [2001:db8::2]:2 by loopback true: raw_buffer "hello"`, 0},
		"for itself":             {must, []string{"PROXY UNKNOWN\r\nhello"}, "any for 127.0.0.1:", 0},
		"nobody":                 {must, []string{"hello"}, "", exchange.BadIntroduction},
		"malformed":              {must, []string{"PROXY TCP4 nobody\r\n"}, "", exchange.BadIntroduction},
		"too slow":               {soon, []string{"PROXY "}, "", exchange.InspectionTimeout},
		"optional, and there":    {may, []string{binaryHeader + "hello"}, `443 for 192.0.2.1:12345`, 0},
		"optional, not there":    {may, []string{"hello"}, "any for 127.0.0.1:", 0},
		"optional, in pieces":    {may, []string{"PRO", "TO hello"}, "any for 127.0.0.1:", 0},
		"optional and malformed": {may, []string{"PROXY TCP4 nobody\r\n"}, "", exchange.BadIntroduction},
	} {
		conn := c.to.dial("l")
		for _, piece := range c.say {
			_, _ = io.WriteString(conn, piece)
			time.Sleep(5 * time.Millisecond)
		}
		got, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(got), c.want) || c.want == "" && len(got) > 0 {
			t.Errorf("%s: got %q", name, got)
		}
		if c.want != "" {
			continue
		}
		select {
		case o := <-c.to.q.refused:
			if o != c.reason {
				t.Errorf("%s: refused by %v", name, o.Details())
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: nobody heard of it", name)
		}
	}
}

// TestIntroducedTLS: TLS begins after the header, even where both come in one packet, and SNI is looked at there.
func TestIntroducedTLS(t *testing.T) {
	l := proxied(config.Proxies)
	l.Chains = []*config.FilterChain{{Name: "secure", Match: config.Match{ServerNames: []string{"shop.example"}}, TLS: newServer(t), HTTP: &config.HTTP{}}}
	b := start(t, Servers{HTTP1: whom{}}, l)
	conn := &prefixed{Conn: b.dial("l"), first: binaryHeader}
	got := overTLS(t, conn, "shop.example", "GET / HTTP/1.1\r\n\r\n")
	if !strings.HasPrefix(got, "secure for 192.0.2.1:12345 to 198.51.100.2:443 by loopback true: tls") {
		t.Errorf("got %q", got)
	}
}

// prefixed sends something before all else, in one packet with it.
type prefixed struct {
	net.Conn
	first string
}

func (p *prefixed) Write(b []byte) (int, error) {
	first := p.first
	p.first = ""
	n, err := p.Conn.Write(append([]byte(first), b...))
	return max(n-len(first), 0), err
}

// overTLS says something and returns the answer.
func overTLS(t *testing.T, conn net.Conn, name, say string) string {
	t.Helper()
	c := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(c)
	return string(got)
}

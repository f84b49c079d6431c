package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// resting counts the connections that rest: their goroutines wait on a stack that has served nothing.
func resting() int {
	buf := make([]byte, 4<<20)
	n := 0
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "http1.(*Server).wake") && strings.Contains(g, "sock.(*Conn).Await") {
			n++
		}
	}
	return n
}

// rested waits until n connections rest.
func rested(t *testing.T, n int) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); resting() != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d connections rest, want %d", resting(), n)
		}
	}
}

// TestRest holds that a connection whose client says nothing rests, and that it is as good as any other afterwards.
func TestRest(t *testing.T) {
	s := newSecure(t)
	b := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "got "+string(body))
	})
	for name, dial := range map[string]func(addr string) (net.Conn, error){
		"plaintext": func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) },
		"TLS":       func(addr string) (net.Conn, error) { return tls.Dial("tcp", addr, s.cfg) },
	} {
		t.Run(name, func(t *testing.T) {
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) {
				if name == "TLS" {
					p.cfg.Listeners[0].Chains[0].TLS = s
				}
			})
			var conns []net.Conn
			for range 3 {
				c, err := dial(p.addr())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(60 * time.Second))
				conns = append(conns, c)
			}
			for round := range 3 {
				for i, c := range conns {
					word := strings.Repeat("x", 1+i+round) // each gets what is meant for it
					for _, piece := range []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Le", "ngth: " + string('0'+rune(len(word))) + "\r\n\r\n", word} {
						time.Sleep(time.Duration(round) * 20 * time.Millisecond) // a head in the making is waited for
						if _, err := io.WriteString(c, piece); err != nil {
							t.Fatal(err)
						}
					}
					r := bufio.NewReader(c)
					if head := readHead(r); !strings.Contains(head, " 200 ") {
						t.Fatalf("round %d: got %q", round, head)
					}
					got := make([]byte, 4+len(word))
					if _, err := io.ReadFull(r, got); err != nil || string(got) != "got "+word {
						t.Fatalf("round %d: got %q (%v)", round, got, err)
					}
				}
				rested(t, len(conns))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if cut := p.m.Shutdown(ctx); cut != 0 || ctx.Err() != nil {
				t.Errorf("%d connections that rested had to be cut", cut)
			}
			rested(t, 0)
		})
	}
}

// TestRestEnds holds that a connection does not rest for longer than the idle timeout, and that it ends with its client.
func TestRestEnds(t *testing.T) {
	b := backend(t, echo)
	for name, idle := range map[string]time.Duration{"with the idle timeout": 500 * time.Millisecond, "with the client": 0} {
		t.Run(name, func(t *testing.T) {
			p := proxy(t, to("c"), map[string][]string{"c": {b}}, func(p *mesh) { p.http.IdleTimeout = idle })
			c, err := net.Dial("tcp", p.addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			asked := time.Now()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if idle == 0 {
				rested(t, 1)
				_ = c.Close()
			} else if _, err := io.Copy(io.Discard, c); err != nil || time.Since(asked) < idle {
				t.Errorf("ended after %v (%v)", time.Since(asked), err)
			}
			for until := time.Now().Add(30 * time.Second); p.m.Open() > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("the session is still open")
				}
			}
		})
	}
}

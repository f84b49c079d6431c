package http2_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

func protocols(h2 bool) *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	return p
}

func origin(t testing.TB, h2 bool, h http.HandlerFunc) string {
	t.Helper()
	up := httptest.NewUnstartedServer(h)
	up.Config.Protocols = protocols(h2)
	up.Start()
	t.Cleanup(up.Close)
	return up.Listener.Addr().String()
}

func client(t testing.TB, h2 bool) *http.Client {
	tr := &http.Transport{Protocols: protocols(h2), ExpectContinueTimeout: 5 * time.Second}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// every runs a test over all four combinations of protocols.
func every(t *testing.T, h http.HandlerFunc, o options, f func(t *testing.T, c *http.Client, url string, m *mesh)) {
	for _, down := range []bool{false, true} {
		for _, up := range []bool{false, true} {
			o.h2Down, o.h2Up = down, up
			name := map[bool]string{false: "h1", true: "h2"}
			t.Run(name[down]+" to "+name[up], func(t *testing.T) {
				m := build(t, origin(t, up, h), o)
				f(t, client(t, down), "http://"+m.addr, m)
			})
		}
	}
}

func do(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func newRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBridgeHeads(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("x-saw", fmt.Sprint(r.Method, " ", r.Host, " ", r.URL, " ", r.Header["Cookie"], " ", r.Header.Values("X-Many"), " ",
			r.Header["Connection"], r.Header["Keep-Alive"], r.Header["X-Hop"], r.ContentLength))
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.WriteHeader(418)
		io.WriteString(w, "short and stout")
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		req := newRequest(t, "POST", url+"/pot?lid=on", strings.NewReader("tea"))
		req.Host = "kettle.example:80"
		req.Header.Add("Cookie", "a=1; b=2; c=3")
		req.Header["X-Many"] = []string{"x", "y"}
		resp, body := do(t, c, req)
		if got, want := resp.Header.Get("x-saw"), "POST kettle.example:80 /pot?lid=on [a=1; b=2; c=3] [x y] [] [] [] 3"; got != want {
			t.Errorf("upstream saw %q, want %q", got, want)
		}
		if resp.StatusCode != 418 || body != "short and stout" || len(resp.Header["Set-Cookie"]) != 2 || resp.Header.Get("Server") != "envoy" {
			t.Errorf("client saw %v %q %v", resp.Status, body, resp.Header)
		}
		if e := m.log.wait(t, 1); e.status != 418 || e.recv != 3 || e.sent != 15 || e.outcome != exchange.OK {
			t.Errorf("recorded %+v", e)
		}
	})
}

// What an HTTP/1 client names in its connection field stays on its own connection.
func TestBridgeConnectionFields(t *testing.T) {
	addr := origin(t, true, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["X-Hop"], r.Header["Keep-Alive"], r.Header["Connection"], r.Header["Te"])
	})
	m := build(t, addr, options{h2Up: true})
	nc, err := net.Dial("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-hop, keep-alive, te\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "[] [] [] []" {
		t.Errorf("upstream saw %s", body)
	}
}

func TestBridgeTrailers(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("Sum", fmt.Sprint(n, " ", r.Trailer.Get("Check")))
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		req := newRequest(t, "POST", url, io.MultiReader(strings.NewReader("some"), strings.NewReader("thing")))
		req.Trailer = http.Header{"Check": {"sound"}}
		resp, body := do(t, c, req)
		if body != "something" || resp.Trailer.Get("Sum") != "9 sound" {
			t.Errorf("got %q, trailer %v", body, resp.Trailer)
		}
	})
}

func TestBridgeContinue(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		continues := 0
		req := newRequest(t, "POST", url, strings.NewReader("body"))
		req.Header.Set("Expect", "100-continue")
		trace := &httptrace.ClientTrace{Got100Continue: func() { continues++ }}
		begun := time.Now()
		_, body := do(t, c, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
		if body != "body" || continues != 1 || time.Since(begun) > 4*time.Second {
			t.Errorf("got %q, %d continues after %v", body, continues, time.Since(begun))
		}
	})
}

func TestBridgeEarlyHints(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(103)
		io.WriteString(w, "page")
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		hints := 0
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && h.Get("Link") == "</style.css>" {
				hints++
			}
			return nil
		}}
		req := newRequest(t, "GET", url, nil)
		if _, body := do(t, c, req.WithContext(httptrace.WithClientTrace(req.Context(), trace))); body != "page" || hints != 1 {
			t.Errorf("got %q, %d hints", body, hints)
		}
	})
}

func TestBridgeEmptyResponses(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("Content-Length", "1234")
		case "/304":
			w.WriteHeader(304)
		case "/204":
			w.WriteHeader(204)
		}
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		if resp, _ := do(t, c, newRequest(t, "HEAD", url+"/head", nil)); resp.StatusCode != 200 || resp.ContentLength != 1234 {
			t.Errorf("HEAD: %v, length %d", resp.Status, resp.ContentLength)
		}
		for path, status := range map[string]int{"/304": 304, "/204": 204, "/200": 200} {
			if resp, body := do(t, c, newRequest(t, "GET", url+path, nil)); resp.StatusCode != status || body != "" {
				t.Errorf("%s: %v %q", path, resp.Status, body)
			}
		}
	})
}

func TestBridgeBodies(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for j := range 4 {
					want := bytes.Repeat([]byte{byte(i)}, 1+i*j*9000)
					resp, err := c.Post(url, "x/y", struct{ io.Reader }{bytes.NewReader(want)})
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// Each piece must pass before the next one is written.
func TestBridgeStreaming(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		p := make([]byte, 100)
		for {
			n, err := r.Body.Read(p)
			if n > 0 {
				w.Write(bytes.ToUpper(p[:n]))
				_ = http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
		}
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		r, w := io.Pipe()
		resp, err := c.Do(newRequest(t, "POST", url, r))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		p := make([]byte, 100)
		for _, s := range []string{"one", "two", "three"} {
			io.WriteString(w, s)
			if n, err := io.ReadAtLeast(resp.Body, p, len(s)); err != nil || string(p[:n]) != strings.ToUpper(s) {
				t.Fatalf("got %q, %v", p[:n], err)
			}
		}
		w.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
			t.Errorf("rest %q, %v", rest, err)
		}
	})
}

func TestBridgeUpstreamDiesInside(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "beginning")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		resp, err := c.Do(newRequest(t, "GET", url, nil))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Error("a broken response looks whole")
		}
		if e := m.log.wait(t, 1); e.flags != "UPE" && e.flags != "UR" { // chunks that end too soon, or a stream that is reset
			t.Errorf("recorded %+v", e)
		}
	})
}

func TestBridgeClientGone(t *testing.T) {
	gone := make(chan struct{}, 10)
	every(t, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		gone <- struct{}{}
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := c.Do(newRequest(t, "GET", url, nil).WithContext(ctx)); err == nil {
			t.Error("an answer came from nowhere")
		}
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Error("the upstream was never told")
		}
		if e := m.log.wait(t, 1); (e.outcome != exchange.ClientGone || e.flags != "DC") && (e.outcome != exchange.ClientReset || e.flags != "DR") { // a connection, or a stream of one
			t.Errorf("recorded %+v", e)
		}
	})
}

// A request whose connection this proxy cut is not one whose client went away.
func TestBridgeCut(t *testing.T) {
	for _, o := range []exchange.Outcome{exchange.Drained, exchange.Revoked} {
		began := make(chan struct{}, 1)
		every(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // before that net/http does not watch its client
			began <- struct{}{}
			<-r.Context().Done()
		}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
			go func() {
				<-began
				time.Sleep(50 * time.Millisecond) // an HTTP/1 client is watched from then on
				m.cut(o)
			}()
			if resp, err := c.Do(newRequest(t, "POST", url, strings.NewReader("x"))); err == nil {
				t.Errorf("an answer came from nowhere: %v", resp.Status)
			}
			if e := m.log.wait(t, 1); e.outcome != o || strings.Contains(e.flags, "DC") {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}

func TestBridgeTimeout(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}, options{route: func(r *route.RouteConfig) { r.Timeout = 100 * time.Millisecond }}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		if resp, _ := do(t, c, newRequest(t, "GET", url, nil)); resp.StatusCode != 504 {
			t.Errorf("got %v", resp.Status)
		}
	})
}

func TestBridgeRetries(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	every(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%3 != 0 {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "at last")
	}, options{route: func(r *route.RouteConfig) {
		r.Retry = &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond}
	}}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		if resp, body := do(t, c, newRequest(t, "GET", url, nil)); resp.StatusCode != 200 || body != "at last" {
			t.Errorf("got %v %q", resp.Status, body)
		}
		if e := m.log.wait(t, 1); e.attempts != 3 {
			t.Errorf("recorded %+v", e)
		}
	})
}

// A body that comes after its head, in two pieces, is kept for the next try.
func TestBridgeRetriesWithBody(t *testing.T) {
	var mu sync.Mutex
	calls := 0
	every(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%3 != 0 {
			w.WriteHeader(503)
			return
		}
		w.Write(body)
	}, options{route: func(r *route.RouteConfig) {
		r.Retry = &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond}
	}}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		r, w := io.Pipe()
		go func() {
			for _, s := range []string{"once", " more"} {
				time.Sleep(20 * time.Millisecond)
				io.WriteString(w, s)
			}
			w.Close()
		}()
		if resp, body := do(t, c, newRequest(t, "POST", url, r)); resp.StatusCode != 200 || body != "once more" {
			t.Errorf("got %v %q", resp.Status, body)
		}
		if e := m.log.wait(t, 1); e.attempts != 3 || e.recv != 9 {
			t.Errorf("recorded %+v", e)
		}
	})
}

// An answer that comes before the request's end reaches a client that is still sending.
func TestBridgeEarlyAnswer(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(413)
		io.WriteString(w, "too much")
	}, options{}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		for range 3 {
			resp, body := do(t, c, newRequest(t, "POST", url, struct{ io.Reader }{bytes.NewReader(make([]byte, 200<<10))}))
			if resp.StatusCode != 413 || body != "too much" {
				t.Errorf("got %v %q", resp.Status, body)
			}
			c.CloseIdleConnections() // HTTP/1 ends a connection whose request was not read: no other may begin on it
		}
	})
}

// A body too long to be kept is sent once; the answer to that stands, be it early or late.
func TestBridgeLongBodiesAreNotRetried(t *testing.T) {
	every(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			io.Copy(io.Discard, r.Body)
		}
		w.WriteHeader(503)
		io.WriteString(w, "no")
	}, options{route: func(r *route.RouteConfig) {
		r.Retry = &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond}
	}}, func(t *testing.T, c *http.Client, url string, m *mesh) {
		for i, path := range []string{"/late", "/early"} {
			size := map[string]int{"/late": 2 << 20, "/early": 200 << 10}[path] // no longer than what is read of a client after its answer
			resp, body := do(t, c, newRequest(t, "POST", url+path, struct{ io.Reader }{bytes.NewReader(make([]byte, size))}))
			if resp.StatusCode != 503 || body != "no" {
				t.Errorf("%s: got %v %q", path, resp.Status, body)
			}
			if e := m.log.wait(t, i+1); path == "/late" && e.attempts != 1 {
				t.Errorf("%s: recorded %+v", path, e)
			}
		}
	})
}

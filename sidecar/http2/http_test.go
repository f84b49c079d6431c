package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// web is net/http's client > Server > transport > net/http's server, all of it HTTP/2 with prior knowledge.
func web(t testing.TB, h http.HandlerFunc, adjust func(*config.HTTP)) (*http.Client, string, *bench) {
	t.Helper()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	up := httptest.NewUnstartedServer(h)
	up.Config.Protocols = &p
	up.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 20, MaxReceiveBufferPerStream: 64 << 10}
	up.Start()
	t.Cleanup(up.Close)
	b := serve(t, &relay{dial: to(t, up.Listener.Addr().String())}, adjust)
	b.up = up.Listener.Addr().String()
	tr := &http.Transport{Protocols: &p, ExpectContinueTimeout: 5 * time.Second}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}, "http://" + b.addr, b
}

func get(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
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

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHeadsArriveAsSent(t *testing.T) {
	c, url, _ := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-saw", fmt.Sprint(r.Method, " ", r.Host, " ", r.URL, " ", r.Header["Cookie"], " ", r.Header.Values("X-Many"), " ", r.Header["Te"]))
		w.Header()["X-Out"] = []string{"1", "2"}
		w.WriteHeader(418)
		io.WriteString(w, "short and stout")
	}, nil)
	req := request(t, "POST", url+"/pot?lid=on", strings.NewReader("tea"))
	req.Host = "kettle.example:80"
	req.Header.Add("Cookie", "a=1; b=2")
	req.Header.Add("X-Many", "x")
	req.Header.Add("X-Many", "y")
	req.Header.Set("Te", "trailers")
	resp, body := get(t, c, req)
	want := "POST kettle.example:80 /pot?lid=on [a=1; b=2] [x y] []"
	if got := resp.Header.Get("x-saw"); got != want {
		t.Errorf("upstream saw %q, want %q", got, want)
	}
	if resp.StatusCode != 418 || body != "short and stout" || len(resp.Header.Values("x-out")) != 2 {
		t.Errorf("client saw %v %q %v", resp.Status, body, resp.Header)
	}
}

// TestLongHeads: heads may be as long as listener and cluster say, both ways.
func TestLongHeads(t *testing.T) {
	long := strings.Repeat("v", 700<<10)
	c, url, b := web(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("x-long", r.Header.Get("x-long")) }, func(h *config.HTTP) { h.MaxHead = 1 << 20 })
	for _, most := range []int{1 << 20, 0} {
		b.relay.mu.Lock()
		b.relay.dial, b.relay.transport = by(t, b.up, exchange.TransportInfo{MaxHead: most}), nil
		b.relay.mu.Unlock()
		req := request(t, "GET", url, nil)
		req.Header.Set("x-long", long)
		resp, _ := get(t, c, req)
		if got := resp.Header.Get("x-long"); (got == long) != (most > 0) || (resp.StatusCode == 200) != (most > 0) {
			t.Errorf("%d: %s with %d bytes", most, resp.Status, len(got))
		}
	}
}

func TestTrailersBothWays(t *testing.T) {
	c, url, _ := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("Sum", fmt.Sprint(n, " ", r.Trailer.Get("Check")))
	}, nil)
	req := request(t, "POST", url, io.MultiReader(strings.NewReader("some"), strings.NewReader("thing")))
	req.Trailer = http.Header{"Check": {"sound"}}
	resp, body := get(t, c, req)
	if body != "something" || resp.Trailer.Get("Sum") != "9 sound" {
		t.Errorf("got %q, trailer %v", body, resp.Trailer)
	}
}

func TestInterimResponses(t *testing.T) {
	c, url, _ := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(103)
		}
		body, _ := io.ReadAll(r.Body) // sends 100 where the client expects it
		w.Write(body)
	}, nil)
	var hints, continues int
	req := request(t, "POST", url, strings.NewReader("body"))
	req.Header.Set("Expect", "100-continue")
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && h.Get("Link") == "</style.css>" {
				hints++
			}
			return nil
		},
		Got100Continue: func() { continues++ },
	}
	_, body := get(t, c, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	req = request(t, "GET", url, nil)
	get(t, c, req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if body != "body" || hints != 1 || continues != 1 {
		t.Errorf("got %q, %d hints, %d continues", body, hints, continues)
	}
}

func TestHeadAndEmptyResponses(t *testing.T) {
	c, url, _ := web(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("Content-Length", "1234")
		case "/304":
			w.WriteHeader(304)
		case "/204":
			w.WriteHeader(204)
		}
	}, nil)
	resp, _ := get(t, c, request(t, "HEAD", url+"/head", nil))
	if resp.StatusCode != 200 || resp.ContentLength != 1234 {
		t.Errorf("HEAD: %v, length %d", resp.Status, resp.ContentLength)
	}
	for path, status := range map[string]int{"/304": 304, "/204": 204, "/200": 200} {
		if resp, body := get(t, c, request(t, "GET", url+path, nil)); resp.StatusCode != status || body != "" {
			t.Errorf("%s: %v %q", path, resp.Status, body)
		}
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	c, url, _ := web(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}, nil)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 5 {
				want := bytes.Repeat([]byte{byte(i)}, 1+i*j*400)
				resp, err := c.Post(url, "x/y", bytes.NewReader(want))
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
}

// A client that stops reading must stop the upstream, with bounded memory in between.
func TestBackpressure(t *testing.T) {
	var mu sync.Mutex
	sent := 0
	c, url, _ := web(t, func(w http.ResponseWriter, r *http.Request) {
		p := make([]byte, 64<<10)
		for {
			if _, err := w.Write(p); err != nil {
				return
			}
			mu.Lock()
			sent += len(p)
			mu.Unlock()
		}
	}, nil)
	resp, err := c.Do(request(t, "GET", url, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	amount := func() int { mu.Lock(); defer mu.Unlock(); return sent }
	last := -1
	for start := time.Now(); amount() != last && time.Since(start) < 5*time.Second; time.Sleep(200 * time.Millisecond) {
		last = amount()
	}
	// The client's own window (4 MiB) fills, then ours.
	if n := amount(); n > 16<<20 {
		t.Errorf("the upstream sent %d bytes that nobody read", n)
	}
}

func TestSlowStreamLeavesOthersAlone(t *testing.T) {
	c, url, _ := web(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done() // never reads its body
			return
		}
		io.Copy(w, r.Body)
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 8 {
		req := request(t, "POST", url+"/slow", bytes.NewReader(make([]byte, 1<<20))).WithContext(ctx)
		go func() {
			if resp, err := c.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
	}
	time.Sleep(100 * time.Millisecond)
	if _, body := get(t, c, request(t, "POST", url, strings.NewReader("quick"))); body != "quick" {
		t.Errorf("got %q", body)
	}
}

func TestUpstreamResetBeforeResponse(t *testing.T) {
	c, url, b := web(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, nil)
	if resp, _ := get(t, c, request(t, "GET", url, nil)); resp.StatusCode != 503 {
		t.Errorf("got %v", resp.Status)
	}
	for start := time.Now(); b.relay.count() == 0 && time.Since(start) < 5*time.Second; time.Sleep(time.Millisecond) {
	}
	b.relay.mu.Lock()
	defer b.relay.mu.Unlock()
	if len(b.relay.ended) != 1 || b.relay.ended[0] != exchange.UpstreamReset {
		t.Errorf("outcomes %v", b.relay.ended)
	}
}

package engine_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// alone starts a client's sidecar in front of an application without one, and returns the sidecar's port. route is what the route says beside
// its cluster; changes are others, as for strings.NewReplacer.
func alone(t *testing.T, app http.HandlerFunc, timeout, route string, changes ...string) string {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			io.WriteString(w, "up")
			return
		}
		app(w, r)
	}))
	t.Cleanup(backend.Close)
	plane := newPlane(t)
	w := world{Outbound: ports.Free(t), Timeout: timeout}
	changes = append(changes, "timeout: {{.Timeout}}", "timeout: {{.Timeout}}"+route)
	plane.push("web", fill(t, plainTo([]string{portOf(t, backend.Listener.Addr().String())}, changes...), w))
	plane.start("web")
	expect(t, w.Outbound, "/up", 200, "up")
	return w.Outbound
}

// TestRetriesInFlightAreBounded holds that a retry counts until it is answered.
func TestRetriesInFlightAreBounded(t *testing.T) {
	retried, release, seen := make(chan struct{}), make(chan struct{}), atomic.Int32{}
	port := alone(t, func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) == 2 {
			close(retried)
			<-release
			io.WriteString(w, "at last")
			return
		}
		w.WriteHeader(503)
	}, "0s", `, retry_policy: {retry_on: "5xx", num_retries: 1}`, "type: EDS\n", "type: EDS\ncircuit_breakers: {thresholds: [{max_retries: 1}]}\n")
	first := make(chan string, 1)
	go func() {
		status, body, err := get("http://127.0.0.1:"+port+"/", "catalog")
		first <- fmt.Sprint(status, body, err)
	}()
	<-retried
	if status, _, err := get("http://127.0.0.1:"+port+"/", "catalog"); err != nil || status != 503 || seen.Load() != 3 {
		t.Errorf("while a retry waits for its answer: status %d, %v, %d requests arrived, want 503 after one try", status, err, seen.Load()-2)
	}
	close(release)
	if got := <-first; got != "200at last<nil>" {
		t.Errorf("the retry: %s", got)
	}
	if status, _, err := get("http://127.0.0.1:"+port+"/", "catalog"); err != nil || status != 503 || seen.Load() != 5 {
		t.Errorf("afterwards: status %d, %v, %d requests arrived, want 503 after two tries", status, err, seen.Load()-3)
	}
}

// raw opens a connection to a sidecar and begins a request with a body in chunks.
func raw(t *testing.T, port string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	say(t, c, "POST / HTTP/1.1\r\nhost: catalog\r\ntransfer-encoding: chunked\r\n\r\n")
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// TestTriesAreTimedFromTheRequestsEnd holds that a client may take its time to send a request.
func TestTriesAreTimedFromTheRequestsEnd(t *testing.T) {
	port := alone(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s, %s ms", body, r.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"))
	}, "0s", `, retry_policy: {retry_on: "5xx", per_try_timeout: 1s}`)
	c := raw(t, port)
	say(t, c, "4\r\nslow\r\n")
	time.Sleep(1500 * time.Millisecond)
	say(t, c, "3\r\nly.\r\n0\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != 200 || string(body) != "slowly., 1000 ms" {
		t.Errorf("got %d %s", answer.StatusCode, body)
	}
}

// TestSlowTriesEnd is the other side of it: once the request is there, the clock runs.
func TestSlowTriesEnd(t *testing.T) {
	port := alone(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}, "0s", `, retry_policy: {retry_on: "connect-failure", per_try_timeout: 0.3s}`)
	c := raw(t, port)
	time.Sleep(100 * time.Millisecond)
	say(t, c, "0\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != 504 {
		t.Errorf("got %+v, %v, want 504", answer, err)
	}
}

// early is an application that answers at once, reads the request to its end, and then says nothing more until its client has gone.
func early(gone chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.EnableFullDuplex()
		io.WriteString(w, "hello")
		_ = c.Flush()
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		gone <- struct{}{}
	}
}

// hello reads the head of an answer and the first of its body.
func hello(t *testing.T, c net.Conn) *bufio.Reader {
	t.Helper()
	in := bufio.NewReader(c)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := make([]byte, len("hello"))
	if _, err := io.ReadFull(answer.Body, said); err != nil || string(said) != "hello" {
		t.Fatalf("got %q, %v", said, err)
	}
	return in
}

// TestTimeoutHoldsAfterAnEarlyAnswer holds that a response which began before the request had ended is bounded by the route's timeout too.
func TestTimeoutHoldsAfterAnEarlyAnswer(t *testing.T) {
	gone := make(chan struct{}, 1)
	c := raw(t, alone(t, early(gone), "0.5s", ""))
	say(t, c, "1\r\nx\r\n")
	in := hello(t, c)
	say(t, c, "0\r\n\r\n")
	if rest, err := io.ReadAll(in); strings.Contains(string(rest), "0\r\n\r\n") {
		t.Errorf("the answer ended as if it were whole: %q, %v", rest, err)
	}
	told(t, gone)
}

// told waits until the application knows that its client has gone.
func told(t *testing.T, gone <-chan struct{}) {
	t.Helper()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Error("nobody told the application")
	}
}

// TestClientsThatLeaveAreNoticed holds that the application learns of it, though the request had come in pieces and the answer had begun.
func TestClientsThatLeaveAreNoticed(t *testing.T) {
	gone := make(chan struct{}, 1)
	for _, end := range []bool{true, false} { // the request's end, before the answer or after it
		c := raw(t, alone(t, early(gone), "0s", ""))
		time.Sleep(50 * time.Millisecond) // the body comes apart from the head
		if !end {
			hello(t, c)
		}
		say(t, c, "0\r\n\r\n")
		if end {
			hello(t, c)
		}
		_ = c.Close()
		told(t, gone)
	}
}

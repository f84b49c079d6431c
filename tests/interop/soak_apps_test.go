package interop

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
)

// soakApps are the applications of both servers.
type soakApps struct{ servers []*http.Server }

func (l *lab) soakApps() *soakApps {
	l.t.Helper()
	apps := &soakApps{}
	for _, name := range []string{"one", "two"} {
		for port, second := range map[string]bool{":8080": false, ":8081": true} {
			s := &http.Server{Handler: soakHandler(), ReadHeaderTimeout: settleWithin, Protocols: new(http.Protocols)}
			s.Protocols.SetHTTP1(!second)
			s.Protocols.SetUnencryptedHTTP2(second)
			listener := l.hosts[name].Listen(port)
			go func() { _ = s.Serve(listener) }()
			l.t.Cleanup(func() { _ = s.Close() })
			apps.servers = append(apps.servers, s)
		}
		calls := grpc.NewServer()
		grpc_testing.RegisterTestServiceServer(calls, interop.NewTestServer())
		listener := l.hosts[name].Listen(":7070")
		go func() { _ = calls.Serve(listener) }()
		l.t.Cleanup(calls.Stop)
		echoes(l.hosts[name].Listen(":9000"))
	}
	return apps
}

// rest has the applications close the connections that nobody uses.
func (a *soakApps) rest() {
	for _, s := range a.servers {
		s.SetKeepAlivesEnabled(false)
		s.SetKeepAlivesEnabled(true)
	}
}

// echoes sends back what it gets, on every connection.
func echoes(l net.Listener) {
	serveEach(l, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
}

// soakHandler answers with as many bytes as the query says, sends bodies back, is slow, fails every other time, or becomes a WebSocket's echo.
func soakHandler() http.Handler {
	var asked atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			switchOver(w)
		case strings.HasPrefix(r.URL.Path, "/late"):
			select {
			case <-r.Context().Done():
			case <-time.After(time.Second):
			}
		case strings.HasPrefix(r.URL.Path, "/flaky") && asked.Add(1)%2 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodPost:
			_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 has it always
			w.Header().Set("Trailer", "X-Sum")
			n, _ := io.Copy(w, r.Body)
			w.Header().Set("X-Sum", fmt.Sprint(n))
		default:
			n, _ := strconv.Atoi(r.URL.RawQuery)
			_, _ = io.WriteString(w, strings.Repeat("x", n))
		}
	})
}

// switchOver makes the connection one that echoes.
func switchOver(w http.ResponseWriter) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, buffered)
}

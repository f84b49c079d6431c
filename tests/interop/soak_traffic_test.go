package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// errand is something that a client does again and again.
type errand struct {
	name  string
	side  int // as many at once
	every time.Duration
	run   func(ctx context.Context, i int) error
}

const soakHost = "server.shop.svc.cluster.local"

// traffic has clients run all errands for a while, while the mesh changes. It fails the test where an errand fails.
func (l *lab) traffic(lasts time.Duration, swap func()) {
	l.t.Helper()
	over, stop := context.WithTimeout(l.t.Context(), lasts)
	defer stop()
	all, leave := l.errands()
	defer leave()
	all = append(all, errand{"changes of the mesh", 1, swapEvery, func(context.Context, int) error { swap(); return nil }})
	var running sync.WaitGroup
	for _, e := range all {
		running.Go(func() {
			done, failed := e.repeat(over)
			if len(failed) > 0 {
				l.t.Errorf("%s: %d of %d failed, the first and the last: %v; %v", e.name, len(failed), done, failed[0], failed[len(failed)-1])
			}
			l.t.Logf("%s: %d in %v", e.name, done, lasts)
		})
	}
	running.Wait()
}

// repeat runs the errand side by side until the time is over. What has begun by then ends in peace.
func (e errand) repeat(over context.Context) (done int, failed []error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range e.side {
		all.Go(func() {
			tick := time.NewTicker(e.every)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-over.Done():
					return
				case <-tick.C:
				}
				ctx, cancel := context.WithTimeout(context.WithoutCancel(over), startWithin)
				err := e.run(ctx, i)
				cancel()
				mu.Lock()
				if done++; err != nil {
					failed = append(failed, fmt.Errorf("number %d at %s: %w", i, time.Now().Format(time.TimeOnly), err))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return done, failed
}

// errands are what the clients do, and leave closes what they have open.
func (l *lab) errands() (all []errand, leave func()) {
	client, plain := l.hosts["client"].DialContext, l.hosts["plain"].DialContext
	transport := func(dial dialer, second bool) *http.Transport {
		t := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 10, Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{ServerName: "shop.example.com", InsecureSkipVerify: true}}
		t.Protocols.SetHTTP1(!second)
		t.Protocols.SetHTTP2(second)
		t.Protocols.SetUnencryptedHTTP2(second)
		return t
	}
	first, second, outside, outsideSecond := transport(client, false), transport(client, true), transport(plain, false), transport(plain, true)
	fresh := transport(client, false)
	fresh.DisableKeepAlives = true
	calls, err := grpc.NewClient("passthrough:///"+serverIP+":7070", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return client(ctx, "tcp", to) }))
	if err != nil {
		l.t.Fatal(err)
	}
	leave = func() {
		_ = calls.Close()
		for _, t := range []*http.Transport{first, second, outside, outsideSecond} {
			t.CloseIdleConnections()
		}
	}
	service := grpc_testing.NewTestServiceClient(calls)
	const mesh, mesh2, edge = "http://" + serverIP, "http://" + serverIP + ":81", edgeIP
	return []errand{
		{"HTTP/1.1", 4, 50 * time.Millisecond, get(first, mesh, soakHost, 200)},
		{"HTTP/1.1, one request per connection", 1, 100 * time.Millisecond, get(fresh, mesh, soakHost, 200)},
		{"HTTP/1.1 with bodies", 2, 100 * time.Millisecond, post(first, mesh, soakHost)},
		{"HTTP/2", 4, 50 * time.Millisecond, get(second, mesh2, soakHost, 200)},
		{"HTTP/2 with bodies", 2, 100 * time.Millisecond, post(second, mesh2, soakHost)},
		{"retries", 1, 200 * time.Millisecond, get(first, mesh+"/flaky", soakHost, 200)},
		{"timeouts", 1, 500 * time.Millisecond, get(first, mesh+"/late", soakHost, 504)},
		{"nobody there", 1, 200 * time.Millisecond, get(first, mesh+"/nobody", soakHost, 503)},
		{"denied", 1, 200 * time.Millisecond, get(first, mesh+"/admin", soakHost, 403)},
		{"from outside the mesh", 1, 100 * time.Millisecond, get(outside, "http://"+soakGuests()[1].ip+":8080", soakHost, 200)},
		{"gateway, HTTP/1.1", 2, 100 * time.Millisecond, get(outside, "http://"+edge+":8080", "shop.example.com", 200)},
		{"gateway, HTTP/2 and TLS", 2, 100 * time.Millisecond, get(outsideSecond, "https://"+edge+":8443", "shop.example.com", 200)},
		{"gRPC, unary", 2, 100 * time.Millisecond, unary(service)},
		{"gRPC, streams", 2, 300 * time.Millisecond, duplex(service)},
		{"gRPC, streams that are abandoned", 1, 300 * time.Millisecond, abandoned(service)},
		{"TCP", 2, 100 * time.Millisecond, bytesBack(client)},
		{"WebSocket", 1, 300 * time.Millisecond, webSocket(client)},
		{"clients that leave", 1, 200 * time.Millisecond, leaver(first, mesh+"/late", soakHost)},
		{"clients that talk nonsense", 1, 300 * time.Millisecond, nonsense(client, serverIP+":80")},
		{"nonsense at the gateway", 1, 300 * time.Millisecond, nonsense(plain, edge+":8443")},
	}, leave
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// ask sends a request and wants a status and as many bytes.
func ask(t http.RoundTripper, r *http.Request, host string, code, size int) error {
	r.Host = host
	answer, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil {
		return fmt.Errorf("reading a body: %w", err)
	}
	if answer.StatusCode != code || code == http.StatusOK && int(n) != size {
		return fmt.Errorf("status %d with %d bytes (%v), want %d with %d", answer.StatusCode, n, answer.Header, code, size)
	}
	return nil
}

var soakSizes = []int{0, 100, 1 << 10, 64 << 10, 300 << 10}

func get(t http.RoundTripper, url, host string, code int) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		size := soakSizes[i%len(soakSizes)]
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint(url, "?", size), nil)
		if err != nil {
			return err
		}
		if !strings.Contains(url[len("http://"):], "/") {
			r.URL.Path = "/"
		}
		return ask(t, r, host, code, size)
	}
}

// post sends bodies that are chunked every other time.
func post(t http.RoundTripper, url, host string) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		size := soakSizes[i%len(soakSizes)]
		var body io.Reader = strings.NewReader(strings.Repeat("y", size))
		if i%2 == 0 {
			body = io.MultiReader(body) // whose length nobody knows
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/", body)
		if err != nil {
			return err
		}
		return ask(t, r, host, http.StatusOK, size)
	}
}

// leaver gives up before the answer comes.
func leaver(t http.RoundTripper, url, host string) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		_ = ask(t, r, host, 0, 0) // it comes too late, whatever it is
		return nil
	}
}

func unary(c grpc_testing.TestServiceClient) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		size := soakSizes[i%len(soakSizes)]
		answer, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseSize: int32(size), Payload: &grpc_testing.Payload{Body: make([]byte, size)}})
		if err == nil && len(answer.GetPayload().GetBody()) != size {
			err = fmt.Errorf("%d bytes, want %d", len(answer.GetPayload().GetBody()), size)
		}
		return err
	}
}

// say sends one message on a stream and takes its answer.
func say(s grpc_testing.TestService_FullDuplexCallClient, size int) error {
	if err := s.Send(&grpc_testing.StreamingOutputCallRequest{ResponseParameters: []*grpc_testing.ResponseParameters{{Size: int32(size)}}}); err != nil {
		return err
	}
	answer, err := s.Recv()
	if err == nil && len(answer.GetPayload().GetBody()) != size {
		err = fmt.Errorf("%d bytes, want %d", len(answer.GetPayload().GetBody()), size)
	}
	return err
}

func duplex(c grpc_testing.TestServiceClient) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		s, err := c.FullDuplexCall(ctx)
		if err != nil {
			return err
		}
		for _, size := range soakSizes[1:] {
			if err := say(s, size); err != nil {
				return err
			}
		}
		if err := s.CloseSend(); err != nil {
			return err
		}
		if _, err = s.Recv(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("the stream did not end: %w", err)
		}
		return nil
	}
}

func abandoned(c grpc_testing.TestServiceClient) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		ctx, cancel := context.WithCancel(ctx)
		s, err := c.FullDuplexCall(ctx)
		if err == nil {
			err = say(s, 100)
		}
		cancel()
		if err != nil {
			return err
		}
		if _, err = s.Recv(); status.Code(err) != codes.Canceled {
			return fmt.Errorf("the stream was not cancelled: %w", err)
		}
		return nil
	}
}

// echoed wants bytes back on a connection, and its end after it has ended its own side.
func echoed(conn net.Conn, from io.Reader, size int) error {
	sent := bytes.Repeat([]byte("z"), size)
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		if half, ok := conn.(*net.TCPConn); ok && err == nil {
			err = half.CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(from)
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("%d bytes came back, want %d", len(got), size)
	}
	return nil
}

func bytesBack(dial dialer) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		conn, err := dial(ctx, "tcp", serverIP+":9000")
		if err != nil {
			return err
		}
		defer conn.Close()
		until, _ := ctx.Deadline()
		_ = conn.SetDeadline(until)
		return echoed(conn, conn, soakSizes[i%len(soakSizes)])
	}
}

func webSocket(dial dialer) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		conn, err := dial(ctx, "tcp", serverIP+":80")
		if err != nil {
			return err
		}
		defer conn.Close()
		until, _ := ctx.Deadline()
		_ = conn.SetDeadline(until)
		if _, err := io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: "+soakHost+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
			return err
		}
		r := bufio.NewReader(conn)
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusSwitchingProtocols {
			return fmt.Errorf("status %d, want 101", answer.StatusCode)
		}
		return echoed(conn, r, soakSizes[i%len(soakSizes)])
	}
}

// nonsense sends what is no request and resets the connection.
func nonsense(dial dialer, to string) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		conn, err := dial(ctx, "tcp", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		text := []string{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "\x16\x03\x01\x00", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x01", "x",
			"POST / HTTP/1.1\r\nHost: " + soakHost + "\r\nContent-Length: 50\r\n\r\nhalf"}
		_, _ = io.WriteString(conn, text[i%len(text)])
		return conn.(*net.TCPConn).SetLinger(0)
	}
}

package tcp

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// sockets are two ends of a TCP connection.
func sockets(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// secured are two ends of a TLS connection.
func secured(t testing.TB) (client, server net.Conn) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	a, b := sockets(t)
	client = tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	server = tls.Server(b, &tls.Config{Certificates: s.TLS.Certificates})
	go client.(*tls.Conn).Handshake()
	if err := server.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// TestLanes moves pieces of all sizes, those around a small buffer's and a record's above all, between plain and secured ends.
func TestLanes(t *testing.T) {
	plain := func(t testing.TB) (net.Conn, net.Conn) { a, b := sockets(t); return a, b }
	for name, ends := range map[string][2]func(testing.TB) (net.Conn, net.Conn){
		"plain to plain": {plain, plain}, "plain to TLS": {plain, secured}, "TLS to plain": {secured, plain}, "TLS to TLS": {secured, secured},
	} {
		t.Run(name, func(t *testing.T) {
			in, src := ends[0](t)
			dst, out := ends[1](t)
			moved := make(chan int64, 1)
			go func() {
				l, sum := newLane(dst, src), int64(0)
				for {
					n, err := l.move()
					if sum += n; err != nil {
						closeWrite(dst)
						moved <- sum
						return
					}
				}
			}()
			var sent []byte
			for i, n := range []int{1, sip - 1, sip, sip + 1, 3 * sip, record - 1, record, record + 1, sip, 200_000} {
				p := bytes.Repeat([]byte{byte('a' + i)}, n)
				sent = append(sent, p...)
				go func() { _, _ = in.Write(p) }()
				got := make([]byte, n)
				_ = out.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadFull(out, got); err != nil || !bytes.Equal(got, p) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
			closeWrite(in)
			if n := <-moved; n != int64(len(sent)) {
				t.Errorf("%d of %d bytes counted", n, len(sent))
			}
			if n, err := out.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the end: %d %v", n, err)
			}
		})
	}
}

// TestWaitingCostsLittle: a connection on which nothing is said has no big buffer, whatever it is secured with.
func TestWaitingCostsLittle(t *testing.T) {
	taken := 0
	old := buffers.New
	buffers.New = func() any { taken++; return old() }
	defer func() { buffers.New = old }()
	for buffers.Get(); taken == 0; buffers.Get() { // nothing left from before
	}
	before := taken
	_, src := secured(t)
	dst, _ := secured(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = newLane(dst, src).move()
	}()
	time.Sleep(50 * time.Millisecond)
	runtime.Gosched()
	src.Close()
	<-done
	if taken != before {
		t.Errorf("%d big buffers taken by a lane that waits", taken-before)
	}
}

// tally counts reports.
type tally struct {
	exchange.Recorder
	received atomic.Int64
	panics   int
	loud     bool
}

func (a *tally) Panicked() { a.panics++ }
func (a *tally) Progress(_ *exchange.Connection, received, _ int64) {
	if a.loud {
		panic("on purpose")
	}
	a.received.Add(received)
}

// TestReportingInterval: relays are reported on as often as their listeners say.
func TestReportingInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &tally{}
		all := &paces{recorder: a, log: slog.New(slog.DiscardHandler)}
		often, seldom := all.of(&exchange.Via{Reporting: 2 * time.Second}), all.of(&exchange.Via{Reporting: time.Minute})
		if all.of(&exchange.Via{Reporting: time.Minute}) != seldom {
			t.Error("equal intervals are reported on apart")
		}
		one, two := &relay{}, &relay{}
		often.join(one)
		seldom.join(two)
		one.received.Add(3)
		two.received.Add(40)
		for _, c := range []struct {
			after time.Duration
			want  int64
		}{{3 * time.Second, 3}, {58 * time.Second, 43}} {
			time.Sleep(c.after)
			synctest.Wait()
			if got := a.received.Load(); got != c.want {
				t.Errorf("%s later: %d bytes", c.after, got)
			}
		}
		often.leave(one)
		seldom.leave(two)
		time.Sleep(2 * time.Minute)
	})
}

// TestProgress: one goroutine reports on all relays while there are any; what goes wrong in one report ends nothing.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &tally{loud: true}
		p := (&paces{recorder: a, log: slog.New(slog.DiscardHandler)}).of(&exchange.Via{})
		one, two := &relay{}, &relay{}
		before := runtime.NumGoroutine()
		p.join(one)
		p.join(two)
		one.received.Add(3)
		time.Sleep(progressEvery + time.Second)
		synctest.Wait()
		if a.panics != 1 {
			t.Errorf("%d panics counted", a.panics)
		}
		a.loud = false
		one.received.Add(4)
		two.received.Add(5)
		time.Sleep(progressEvery)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; a.received.Load() != 9 || n != 1 {
			t.Errorf("%d bytes, %d goroutines", a.received.Load(), n)
		}
		p.leave(one)
		p.leave(two)
		time.Sleep(2 * progressEvery)
		synctest.Wait()
		p.join(one)
		one.received.Add(1)
		time.Sleep(2 * progressEvery)
		synctest.Wait()
		if a.received.Load() != 10 {
			t.Errorf("%d bytes after the first ones had gone", a.received.Load())
		}
		p.leave(one)
		time.Sleep(2 * progressEvery)
	})
}

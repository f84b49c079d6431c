package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Connect makes TLS connections, one after the other by each client, asks once on each and closes it. No session is resumed.
type Connect struct {
	Address string
	TLS     *tls.Config
	Clients int
	For     time.Duration
	Request []byte
}

// Run connects until the time is over.
func (c Connect) Run(ctx context.Context) Seen {
	until := time.Now().Add(c.For)
	return all(ctx, c.Clients, func(ctx context.Context, _ int) (s Seen) {
		buf := make([]byte, 16<<10)
		for time.Now().Before(until) && ctx.Err() == nil && s.Failed < tooMany {
			if err := c.once(buf); err != nil {
				s.fail(err)
			} else {
				s.Done++
			}
		}
		return s
	})
}

func (c Connect) once(buf []byte) error {
	nc, err := net.DialTimeout("tcp", c.Address, patience)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	secured := tls.Client(nc, c.TLS)
	if _, err := secured.Write(c.Request); err != nil {
		return err
	}
	return readAnswer(secured, buf)
}

// Bulk sends bytes over one connection until the time is over and returns how many.
func Bulk(ctx context.Context, address string, d time.Duration) (int64, error) {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	buf, sent := make([]byte, 256<<10), int64(0)
	for until := time.Now().Add(d); sent == 0 || time.Now().Before(until) && ctx.Err() == nil; {
		n, err := nc.Write(buf)
		if sent += int64(n); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// Hold opens n connections, gets one answer on each, and leaves them idle until release is called.
func Hold(address string, n int, request []byte) (release func(), err error) {
	held := make([]*connection, n)
	release = func() {
		for _, c := range held {
			if c != nil {
				c.close()
			}
		}
	}
	buf := make([]byte, 64<<10)
	for i := range held {
		held[i] = &connection{address: address, request: request, buf: buf}
		if err := held[i].exchange(); err != nil {
			release()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return release, nil
}

// echoEvery is how often a long connection shows that it lives.
const echoEvery = 20 * time.Millisecond

// Long are connections that are to outlive whatever happens.
type Long struct {
	cut  atomic.Int64
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

// Keep opens n connections to an application that echoes. Hello, if there is any, is sent first, and an answer that ends a head awaited.
func (l *Long) Keep(address string, n int, hello []byte) error {
	if l.stop == nil {
		l.stop = make(chan struct{})
	}
	for range n {
		nc, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			return err
		}
		if err := greet(nc, hello); err != nil {
			_ = nc.Close()
			return err
		}
		l.wg.Go(func() {
			defer nc.Close()
			if !l.live(nc) {
				l.cut.Add(1)
			}
		})
	}
	return nil
}

func greet(nc net.Conn, hello []byte) error {
	if len(hello) == 0 {
		return nil
	}
	if _, err := nc.Write(hello); err != nil {
		return err
	}
	for got, one := 0, make([]byte, 1); got < len(headEnd); {
		if _, err := io.ReadFull(nc, one); err != nil {
			return err
		}
		switch one[0] {
		case headEnd[got]:
			got++
		case headEnd[0]:
			got = 1
		default:
			got = 0
		}
	}
	return nil
}

// live echoes until it is told to stop, and says whether that was the end.
func (l *Long) live(nc net.Conn) bool {
	tick := time.NewTicker(echoEvery)
	defer tick.Stop()
	message, got := []byte("still there?"), make([]byte, len("still there?"))
	for {
		select {
		case <-l.stop:
			return true
		case <-tick.C:
		}
		if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
			return false
		}
		if _, err := nc.Write(message); err != nil {
			return false
		}
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != string(message) {
			return false
		}
	}
}

// Cut is how many have been cut so far.
func (l *Long) Cut() int { return int(l.cut.Load()) }

// End closes them and returns how many had been cut before. It may be called twice.
func (l *Long) End() int {
	if l.stop == nil {
		return 0
	}
	l.once.Do(func() { close(l.stop) })
	l.wg.Wait()
	return l.Cut()
}

package lookup

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// book is a resolver that knows what it was told.
type book struct {
	mu     sync.Mutex
	names  map[string][]netip.Addr
	asked  int
	silent chan struct{} // nil: it answers at once
}

func (b *book) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if b.silent != nil {
		<-b.silent
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if b.names[name] == nil {
		return nil, errors.New("no such host")
	}
	return b.names[name], nil
}

func (b *book) tell(name string, addrs ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names[name] = nil
	for _, a := range addrs {
		b.names[name] = append(b.names[name], netip.MustParseAddr(a))
	}
}

func newBook() *book { return &book{names: map[string][]netip.Addr{}} }

func elsewhere() func(netip.Addr) bool {
	return Elsewhere(func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("10.1.0.9")} })
}

func cache(b *book) *Cache {
	return New(Options{Resolver: b, Network: "ip", Refresh: time.Minute, Allowed: elsewhere()})
}

func find(c *Cache, name string) string {
	got, err := c.Find(context.Background(), name)
	if err != nil {
		return "no"
	}
	return fmt.Sprint(got)
}

// TestForbidden holds that no name leads to this machine, whatever DNS says of it, and a name with other addresses to those alone.
func TestForbidden(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1", "255.255.255.255", "10.1.0.9",
		"::1", "::", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.1.0.9",
		"64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "::127.0.0.1", "2002:7f00:1::1",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "::ffff:100.100.100.200", "168.63.129.16", "64:ff9b::a83f:8110", "192.0.0.192"} {
		b := newBook()
		b.tell("evil.example.com", a)
		b.tell("mixed.example.com", a, "192.0.2.1")
		c := cache(b)
		if got := find(c, "evil.example.com"); got != "no" {
			t.Errorf("%s: a name leads to %s", a, got)
		}
		if got := find(c, a); got != "no" {
			t.Errorf("%s: it leads to %s itself", a, got)
		}
		if got := find(c, "mixed.example.com"); got != "[192.0.2.1]" {
			t.Errorf("%s and another: %s", a, got)
		}
	}
	c := New(Options{Resolver: newBook(), Network: "ip", Allowed: Elsewhere(func() []netip.Addr { return nil })})
	if got := find(c, "192.0.2.1"); got != "no" {
		t.Errorf("own addresses are not known: %s", got)
	}
}

// TestRemembers holds how long answers and failures are used.
func TestRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.tell("a.example.com", "192.0.2.1")
		c := cache(b)
		expect := func(step, name, want string, asked int) {
			t.Helper()
			if got := find(c, name); got != want || b.asked != asked {
				t.Errorf("%s: %s after %d questions, want %s after %d", step, got, b.asked, want, asked)
			}
		}
		expect("first", "a.example.com", "[192.0.2.1]", 1)
		expect("again", "a.example.com", "[192.0.2.1]", 1)
		b.tell("a.example.com", "192.0.2.2")
		time.Sleep(time.Minute)
		expect("refreshed", "a.example.com", "[192.0.2.2]", 2)
		b.tell("a.example.com")
		time.Sleep(time.Minute)
		expect("kept while it cannot be found", "a.example.com", "[192.0.2.2]", 3)
		expect("and not asked for each time", "a.example.com", "[192.0.2.2]", 3)
		time.Sleep(5 * time.Minute)
		expect("not for ever", "a.example.com", "no", 4)
		expect("a failure is remembered", "a.example.com", "no", 4)
		b.tell("a.example.com", "192.0.2.3")
		time.Sleep(failed)
		expect("a while", "a.example.com", "[192.0.2.3]", 5)
	})
}

// TestRefreshedSeldom holds that an answer serves as long as it is not to be looked up again, even where that is longer than one is kept otherwise.
func TestRefreshedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.tell("a.example.com", "192.0.2.1")
		c := New(Options{Resolver: b, Network: "ip", Refresh: 2 * kept, Allowed: elsewhere()})
		for range 3 {
			if got := find(c, "a.example.com"); got != "[192.0.2.1]" || b.asked != 1 {
				t.Errorf("%s after %d questions", got, b.asked)
			}
			time.Sleep(kept - time.Minute)
		}
	})
}

// TestALateAnswerCounts holds that who looked a name up has its answer, however late.
func TestALateAnswerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.silent = make(chan struct{})
		b.tell("a.example.com", "192.0.2.1")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		time.AfterFunc(time.Second, func() { close(b.silent) })
		for range 20 { // a choice by chance would show
			c := cache(b)
			if got, err := c.Find(ctx, "a.example.com"); err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
		}
	})
}

// TestAsksOnce holds that many who want a name ask once, and that one who gives up does not end it for others.
func TestAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.silent = make(chan struct{})
		b.tell("a.example.com", "192.0.2.1")
		c := cache(b)
		got := make(chan string, 9)
		for range 9 {
			go func() { got <- find(c, "a.example.com") }()
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gave := make(chan error, 1)
		go func() {
			_, err := c.Find(ctx, "a.example.com")
			gave <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gave; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
		close(b.silent)
		for range 9 {
			if g := <-got; g != "[192.0.2.1]" {
				t.Errorf("got %s", g)
			}
		}
		if b.asked != 1 {
			t.Errorf("%d questions", b.asked)
		}
	})
}

// TestBounded holds that names that clients make up do not fill the memory, and that those in use stay.
func TestBounded(t *testing.T) {
	b := newBook()
	now := time.Unix(1, 0)
	c := New(Options{Resolver: b, Network: "ip", Refresh: time.Minute, Now: func() time.Time { now = now.Add(time.Microsecond); return now },
		Allowed: elsewhere()})
	b.tell("used.example.com", "192.0.2.1")
	for i := range most + 100 {
		find(c, fmt.Sprintf("n%d.example.com", i))
		find(c, "used.example.com")
	}
	if len(c.names) != most || b.asked != most+101 {
		t.Errorf("%d names, %d questions", len(c.names), b.asked)
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.silent = make(chan struct{})
		c := cache(b)
		for i := range most {
			go find(c, fmt.Sprintf("n%d.example.com", i))
		}
		synctest.Wait()
		if got := find(c, "one.more.example.com"); got != "no" || len(c.names) != most {
			t.Errorf("while all are being looked up: %s, %d names", got, len(c.names))
		}
		close(b.silent)
	})
}

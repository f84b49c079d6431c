package discovery

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/metric/noop"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
)

func (l *line) accept(typ, nonce string) { l.ask(&request{typ: typ, nonce: nonce}) }

func (l *line) refuse(typ, nonce, why string) {
	l.ask(&request{typ: typ, nonce: nonce, fault: &rpcstatus.Status{Message: why}})
}

// progressOf describes the one proxy's progress: "3", or "3 refuses Listener (1,2]: why".
func progressOf(s *Server) string {
	synctest.Wait()
	p := s.Progress()[0]
	text := fmt.Sprint(p.Reached)
	for _, r := range p.Refusals {
		text += fmt.Sprintf(" refuses %s (%d,%d]: %s", r.Type, r.After, r.UpTo, r.Error)
	}
	return text
}

// listening connects a proxy that accepted version 1: a cluster and a listener. Responses 1 and 2 are over.
func listening(t *testing.T, delta bool) (*world, *line, *Server) {
	w := newWorld()
	w.set(wire.TypeCluster, "c", "1")
	w.set(wire.TypeListener, "l", "1")
	w.Take()
	w.version(1)
	l, s := connect(t, w, asWeb, delta)
	l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster})
	l.ask(&request{typ: wire.TypeListener})
	l.said()
	l.accept(wire.TypeCluster, "1")
	l.accept(wire.TypeListener, "2")
	l.said()
	return w, l, s
}

func TestProgress(t *testing.T) {
	for says, play := range map[string]func(w *world, l *line, want func(string)){
		"a version that changes nothing for the proxy is reached at once": func(w *world, _ *line, want func(string)) {
			want("1")
			w.version(2)
			want("2")
		},
		"a version is reached when all of its responses are answered": func(w *world, l *line, want func(string)) {
			w.set(wire.TypeCluster, "c", "2")
			w.set(wire.TypeListener, "l", "2")
			w.version(2)
			w.tell()
			l.said()
			want("1")
			l.accept(wire.TypeCluster, "3")
			want("1")
			l.accept(wire.TypeListener, "4")
			want("2")
		},
		"later responses do not hold an earlier version up": func(w *world, l *line, want func(string)) {
			w.set(wire.TypeCluster, "c", "2")
			w.version(2)
			w.tell()
			l.said()
			w.set(wire.TypeCluster, "d", "1")
			w.version(3)
			w.tell()
			l.said()
			l.accept(wire.TypeCluster, "3")
			want(map[bool]string{true: "2", false: "1"}[l.isDelta]) // state of the world: only answers to the last response count
			l.accept(wire.TypeCluster, "4")
			want("3")
		},
		"a refusal is about what came with the version, until it is mended": func(w *world, l *line, want func(string)) {
			w.set(wire.TypeListener, "l", "2")
			w.set(wire.TypeListener, "m", "1")
			w.version(2)
			w.tell()
			l.said()
			l.refuse(wire.TypeListener, "3", "l: bad")
			want("2 refuses Listener (1,2]: l: bad")
			w.set(wire.TypeListener, "m", "2")
			w.version(3)
			w.tell()
			l.said()
			l.accept(wire.TypeListener, "4")
			if !l.isDelta { // all listeners came again, and were accepted
				want("3")
				return
			}
			want("3 refuses Listener (1,2]: l: bad")
			w.set(wire.TypeListener, "l", "")
			w.version(4)
			w.tell()
			l.said()
			l.accept(wire.TypeListener, "5")
			want("4")
		},
		"refusing anew replaces the reason": func(w *world, l *line, want func(string)) {
			for i, why := range []string{"l: bad", "l: worse"} {
				w.set(wire.TypeListener, "l", why)
				w.version(uint64(2 + i))
				w.tell()
				l.said()
				l.refuse(wire.TypeListener, fmt.Sprint(3+i), why)
			}
			want("3 refuses Listener (2,3]: l: worse")
		},
		"what is asked for later belongs to the last version": func(w *world, l *line, want func(string)) {
			w.set(wire.TypeListener, "l", "2")
			w.set(wire.TypeRoute, "80", "1")
			w.version(2)
			w.tell()
			l.said()
			l.accept(wire.TypeListener, "3")
			l.ask(&request{typ: wire.TypeRoute, subscribe: []string{"81"}, names: []string{"81"}})
			l.said()
			l.ask(&request{typ: wire.TypeRoute, subscribe: []string{"80"}, names: []string{"81", "80"}})
			l.said()
			l.ask(&request{typ: wire.TypeRoute, nonce: map[bool]string{true: "5", false: "4"}[l.isDelta], names: []string{"81", "80"},
				fault: &rpcstatus.Status{Message: "80: bad"}})
			want("2 refuses RouteConfiguration (1,2]: 80: bad")
		},
	} {
		for variant, delta := range map[string]bool{"delta": true, "state of the world": false} {
			t.Run(says+", "+variant, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, l, s := listening(t, delta)
					play(w, l, func(want string) {
						t.Helper()
						if got := progressOf(s); got != want {
							t.Errorf("progress is %q, want %q", got, want)
						}
					})
					l.close()
				})
			})
		}
	}
}

func TestAProxyThatOnlyConnectedHasReachedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.version(5)
		l, s := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeCluster})
		l.said()
		l.accept(wire.TypeCluster, "1")
		if got := progressOf(s); got != "0" {
			t.Errorf("progress is %q", got)
		}
		l.close()
	})
}

func TestAProxyThatDoesNotAnswerIsFollowedInBoundedMemory(t *testing.T) {
	tr := &track{}
	for i := range 10 * maxOpen {
		tr.began(tr.complete)
		tr.sent(wire.TypeCluster, sent{number: i + 1, names: []string{"c"}})
		tr.ended(uint64(i + 1))
	}
	if n, m := len(tr.open[wire.TypeCluster]), len(tr.marks); n > maxOpen || m > maxMarks {
		t.Errorf("%d responses and %d versions are remembered", n, m)
	}
	tr.answered(wire.TypeCluster, 10*maxOpen-1, "")
	if tr.reached >= uint64(10*maxOpen-1) {
		t.Errorf("version %d counts as reached before its response was answered", tr.reached)
	}
	tr.answered(wire.TypeCluster, 10*maxOpen, "")
	if tr.reached != uint64(10*maxOpen) {
		t.Errorf("reached %d in the end", tr.reached)
	}
	for i := range 3 * maxRefusals {
		tr.refused(wire.TypeListener, sent{names: []string{fmt.Sprint("l", i)}, after: uint64(i), upTo: uint64(i + 1)}, "bad")
	}
	if n := len(tr.refusals); n != maxRefusals || !tr.refusals[0].Covers(1) {
		t.Errorf("%d refusals, the oldest %+v", n, tr.refusals[0])
	}
}

func TestMentions(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       bool
	}{
		{"80: virtual_hosts[1]: bad", "80", true}, {"8080: bad", "80", false}, {"80: bad; 8080: bad", "8080", true},
		{"Error adding/updating cluster(s) outbound|80||a: no", "outbound|80||a", true}, {"outbound|80||a.b: no", "outbound|80||a", false}, {"", "", false},
	} {
		if got := mentions(c.text, c.name); got != c.want {
			t.Errorf("%q mentions %q: %t", c.text, c.name, got)
		}
	}
}

func TestSecretsThatCannotBeSentAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		l, s := connect(t, w, asWeb, true)
		l.ask(&request{node: proxyNode("1"), typ: wire.TypeSecret, subscribe: []string{"kubernetes://a", "kubernetes://b"}})
		l.said()
		missing := func() string {
			return fmt.Sprint(s.Progress()[0].Missing, s.Clients()[0].Types[wire.TypeSecret].Missing)
		}
		if got := missing(); got != "[kubernetes://a kubernetes://b] [kubernetes://a kubernetes://b]" {
			t.Errorf("missing are %s", got)
		}
		w.set(wire.TypeSecret, "kubernetes://a", "1")
		w.tell()
		l.said()
		l.ask(&request{typ: wire.TypeSecret, unsubscribe: []string{"kubernetes://b"}})
		l.said()
		if got := missing(); got != "[] []" {
			t.Errorf("missing are %s", got)
		}
		l.close()
	})
}

// TestAnswersAreTakenWhereTheyAreRead holds that the stream's own goroutine is woken only by what asks for something, and never sees an answer twice.
func TestAnswersAreTakenWhereTheyAreRead(t *testing.T) {
	server, err := New(Options{Log: slog.New(slog.DiscardHandler), Meter: noop.Meter{}})
	if err != nil {
		t.Fatal(err)
	}
	e, leave := newRoster().enter(Client{}, newWorld())
	defer leave()
	s := &stream{server: server, wire: incremental{}, status: e}
	s.serial.Store(3)
	for _, c := range []struct {
		name        string
		request     request
		known, want bool
		refused     int
		left        string // of the nonce
	}{
		{"an answer about what was never asked for", request{typ: wire.TypeCluster, nonce: "1"}, false, false, 0, "1"},
		{"an answer", request{typ: wire.TypeCluster, nonce: "2"}, true, true, 0, ""},
		{"a refusal", request{typ: wire.TypeCluster, nonce: "3", fault: &rpcstatus.Status{Message: "no"}}, true, true, 1, ""},
		{"an answer and a question", request{typ: wire.TypeCluster, nonce: "3", subscribe: []string{"a"}}, true, false, 1, ""},
		{"a question", request{typ: wire.TypeCluster, unsubscribe: []string{"a"}}, true, false, 1, ""},
		{"an answer to another server", request{typ: wire.TypeCluster, nonce: "9"}, true, true, 1, ""},
	} {
		if c.known {
			e.update(wire.TypeCluster, func(*TypeStatus, *track) {})
		}
		got := s.took(&c.request)
		status := e.copy().Types[wire.TypeCluster]
		if got != c.want || c.request.nonce != c.left || status.Refused != c.refused || status.Acked == "9" {
			t.Errorf("%s: taken: %t, nonce left: %q, status: %+v", c.name, got, c.request.nonce, status)
		}
	}
	s.wire = worldly{}
	if s.took(&request{typ: wire.TypeCluster, nonce: "3"}) {
		t.Error("an answer in the other variant, which may be late, is taken")
	}
}

// TestNothingIsReachedInTheMiddleOfAnAnswer holds that an answer in several parts, of which the first is acknowledged at once, is not taken for the whole.
func TestNothingIsReachedInTheMiddleOfAnAnswer(t *testing.T) {
	tr := track{listens: true, answering: true}
	tr.sent(wire.TypeListener, sent{number: 1})
	tr.answered(wire.TypeListener, 1, "")
	if tr.idle() {
		t.Error("all is answered, while more is on its way")
	}
	if tr.answering = false; !tr.idle() {
		t.Error("the end of the answer is not noticed")
	}
}

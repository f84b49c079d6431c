package dns

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/sidecar/dns/names"
)

// FuzzQuestion holds that whatever a client sends is answered with a message that can be read and fits, or not at all, and that whatever a
// server answers is remembered without harm.
func FuzzQuestion(f *testing.F) {
	for _, size := range []int{0, 1232} {
		f.Add(question(f, dnsmessage.TypeA, "db.shop.svc.cluster.local.", size), []byte(nil))
		f.Add(question(f, dnsmessage.TypeAAAA, "www.example.com.", size), []byte(nil))
	}
	f.Add(question(f, dnsmessage.TypeA, "a.wild.test.shop.svc.cluster.local.", 0), []byte(nil))
	for _, host := range []string{"www.example.com.", "none.example.com.", "big.example.com."} {
		q := dnsmessage.Question{Name: name(host), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
		m := example(q)
		m.Response, m.Questions = true, []dnsmessage.Question{q}
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(question(f, dnsmessage.TypeA, host, 0), raw)
	}
	known := table()
	f.Fuzz(func(t *testing.T, raw, reply []byte) {
		s := NewServer(Options{Table: func() *names.Table { return known }, Search: "shop.svc.cluster.local", Forwarder: NewForwarder(nil, &net.Dialer{}),
			Log: slog.New(slog.DiscardHandler), Recovered: func(v any) { t.Fatal(v) }})
		answer, q := s.known(raw, 0)
		if answer != nil {
			var m dnsmessage.Message
			if err := m.Unpack(answer); err != nil || !m.Response || len(answer) > maxDatagram {
				t.Errorf("an answer of %d bytes: %v", len(answer), err)
			}
		}
		if q == nil {
			return
		}
		now := time.Unix(0, 0)
		if _, err := resources(reply); err != nil || !q.answeredBy(reply, append(append([]byte(nil), reply[:2]...), raw[2:]...)) {
			return
		}
		s.cache.put(q, reply, now)
		if again := s.cache.get(q, now.Add(time.Second), 7); again != nil && len(again) != len(reply) {
			t.Error("what is remembered has another length")
		}
		if cut := q.within(reply, plainSize); len(cut) > max(plainSize, q.end+headerSize+optSize) {
			t.Errorf("cut to %d bytes", len(cut))
		}
	})
}

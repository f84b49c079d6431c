package dns

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/sidecar/dns/names"
)

// lab is a server, the server behind it, and a clock.
type lab struct {
	t        testing.TB
	upstream *upstream
	server   *Server
	address  netip.AddrPort
	known    atomic.Pointer[names.Table]

	mu  sync.Mutex
	now time.Time
}

func (l *lab) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *lab) pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

func many(n int) *names.Record {
	r := &names.Record{TTL: 30 * time.Second}
	for i := range n {
		r.V4 = append(r.V4, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	return r
}

func table() *names.Table {
	both := &names.Record{V4: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, V6: []netip.Addr{netip.MustParseAddr("fd00::1")}, TTL: 30 * time.Second}
	return names.Merge([]*names.Zone{
		{Name: "web.shop.svc.cluster.local", Domains: map[string]*names.Record{"web.shop.svc.cluster.local": both, "web.shop": both}},
		{Name: "db.shop.svc.cluster.local", Domains: map[string]*names.Record{"db.shop.svc.cluster.local": many(3)}},
		{Name: "crowd.shop.svc.cluster.local", Domains: map[string]*names.Record{"crowd.shop.svc.cluster.local": many(100)}},
		{Name: "*.wild.test", Domains: map[string]*names.Record{"*.wild.test": many(1)}},
	})
}

// newLab starts a server with the table before an upstream with the zone.
func newLab(t testing.TB, zone func(dnsmessage.Question) dnsmessage.Message) *lab {
	t.Helper()
	l := &lab{t: t, upstream: newUpstream(t, zone), address: netip.MustParseAddrPort(ports.Address(t)), now: time.Unix(1_700_000_000, 0)}
	f := NewForwarder([]netip.AddrPort{l.upstream.address}, &net.Dialer{})
	f.now = l.clock
	l.known.Store(table())
	l.server = NewServer(Options{Addresses: []netip.AddrPort{l.address}, Table: l.known.Load, Search: "shop.svc.cluster.local", Forwarder: f,
		Log: slog.New(slog.DiscardHandler), Recovered: func(v any) { t.Errorf("panic: %v", v) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

// exchange sends a message and returns the answer.
func (l *lab) exchange(network string, raw []byte) dnsmessage.Message {
	l.t.Helper()
	var reply []byte
	for deadline := time.Now().Add(30 * time.Second); reply == nil; {
		if time.Now().After(deadline) {
			l.t.Fatal("no answer")
		}
		reply = l.once(network, raw) // until the server listens
	}
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		l.t.Fatalf("an answer that cannot be read: %v", err)
	}
	return m
}

func (l *lab) once(network string, raw []byte) []byte {
	conn, err := net.Dial(network, l.address.String())
	if err != nil {
		time.Sleep(time.Millisecond)
		return nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if network == "tcp" {
		if writeMessage(conn, raw) != nil {
			return nil
		}
		reply, _ := readMessage(conn)
		return reply
	}
	if _, err := conn.Write(raw); err != nil {
		return nil
	}
	buf := make([]byte, maxMessage)
	n, err := conn.Read(buf)
	if err != nil {
		time.Sleep(time.Millisecond)
		return nil
	}
	return buf[:n]
}

// question packs a question; size is EDNS's, 0: without.
func question(t testing.TB, typ dnsmessage.Type, host string, size int) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name(host), Type: typ, Class: dnsmessage.ClassINET}}}
	if size > 0 {
		h := dnsmessage.ResourceHeader{}
		if err := h.SetEDNS0(size, 0, false); err != nil {
			t.Fatal(err)
		}
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// said is an answer in words: its code, whether it is cut, and its records.
func said(m dnsmessage.Message) string {
	out := strings.TrimPrefix(m.RCode.String(), "RCode")
	if m.Truncated {
		out += " cut"
	}
	for _, r := range m.Answers {
		out += fmt.Sprintf(" %s/%d=", r.Header.Name, r.Header.TTL)
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			out += netip.AddrFrom4(b.A).String()
		case *dnsmessage.AAAAResource:
			out += netip.AddrFrom16(b.AAAA).String()
		case *dnsmessage.CNAMEResource:
			out += b.CNAME.String()
		default:
			out += strings.TrimPrefix(r.Header.Type.String(), "Type")
		}
	}
	return out
}

func (l *lab) ask(typ dnsmessage.Type, host string) string {
	l.t.Helper()
	m := l.exchange("udp", question(l.t, typ, host, 0))
	if m.ID != 77 || !m.Response || len(m.Questions) != 1 || m.Questions[0].Name.String() != host {
		l.t.Errorf("the answer is to another question: %+v", m)
	}
	return said(m)
}

// example is what the upstream knows.
func example(q dnsmessage.Question) dnsmessage.Message {
	host := strings.ToLower(q.Name.String())
	switch {
	case host == "www.example.com." && q.Type == dnsmessage.TypeA:
		return dnsmessage.Message{Answers: []dnsmessage.Resource{cname(q.Name.String(), 60, "edge.example.com."), a("edge.example.com.", 10, "192.0.2.1")}}
	case host == "www.example.com.":
		return dnsmessage.Message{Authorities: []dnsmessage.Resource{soa(300, 20)}}
	case host == "big.example.com.":
		m := dnsmessage.Message{}
		for i := range 60 {
			m.Answers = append(m.Answers, a(q.Name.String(), 60, fmt.Sprintf("192.0.2.%d", i)))
		}
		return m
	case host == "broken.example.com.":
		return dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeServerFailure}}
	case host == "brief.example.com.":
		return dnsmessage.Message{Answers: []dnsmessage.Resource{a(q.Name.String(), 0, "192.0.2.9")}}
	}
	return dnsmessage.Message{Header: dnsmessage.Header{RCode: dnsmessage.RCodeNameError}, Authorities: []dnsmessage.Resource{soa(40, 3600)}}
}

func TestTheMeshsOwnNames(t *testing.T) {
	l := newLab(t, example)
	for _, c := range []struct {
		why, host string
		typ       dnsmessage.Type
		want      string
	}{
		{"a service", "web.shop.svc.cluster.local.", dnsmessage.TypeA, "Success web.shop.svc.cluster.local./30=10.0.0.1"},
		{"its other family", "web.shop.svc.cluster.local.", dnsmessage.TypeAAAA, "Success web.shop.svc.cluster.local./30=fd00::1"},
		{"a short form, in any case of letters", "Web.SHOP.", dnsmessage.TypeA, "Success Web.SHOP./30=10.0.0.1"},
		{"a family that it has not: it exists nonetheless", "db.shop.svc.cluster.local.", dnsmessage.TypeAAAA, "Success"},
		{"with the pod's domain", "Web.Shop.shop.svc.cluster.local.", dnsmessage.TypeA, "Success Web.Shop.shop.svc.cluster.local./30=web.shop. web.shop./30=10.0.0.1"},
		{"likewise, its other family", "web.shop.shop.svc.cluster.local.", dnsmessage.TypeAAAA, "Success web.shop.shop.svc.cluster.local./30=web.shop. web.shop./30=fd00::1"},
		{"likewise, a family that it has not", "a.wild.test.shop.svc.cluster.local.", dnsmessage.TypeAAAA, "Success"},
		{"likewise, below a wildcard", "a.wild.test.shop.svc.cluster.local.", dnsmessage.TypeA, "Success a.wild.test.shop.svc.cluster.local./30=a.wild.test. a.wild.test./30=10.1.0.0"},
		{"below a wildcard", "a.b.wild.test.", dnsmessage.TypeA, "Success a.b.wild.test./30=10.1.0.0"},
	} {
		if got := l.ask(c.typ, c.host); got != c.want {
			t.Errorf("%s: %s, want %s", c.why, got, c.want)
		}
	}
	if n := l.upstream.total(); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	if got := l.ask(dnsmessage.TypeTXT, "web.shop.svc.cluster.local."); got != "NameError" || l.upstream.count("udp TXT web.shop.svc.cluster.local.") != 1 {
		t.Errorf("another type is the upstream's affair: %s", got)
	}
	stats := l.server.Stats()
	if stats.FromTable != 9 || stats.Forwarded != 1 || stats.Requests != 10 {
		t.Errorf("%+v", stats)
	}
}

// TestBeforeTheMeshHasToldOfNames: other servers would say that the mesh's names do not exist, and the application might remember that.
func TestBeforeTheMeshHasToldOfNames(t *testing.T) {
	l := newLab(t, example)
	l.known.Store(nil)
	for _, host := range []string{"web.shop.", "www.example.com."} {
		if got := l.ask(dnsmessage.TypeA, host); got != "ServerFailure" {
			t.Errorf("%s: %s", host, got)
		}
	}
	if l.ask(dnsmessage.TypeTXT, "www.example.com."); l.upstream.total() != 1 {
		t.Errorf("the upstream was asked %d times, not for what the mesh has no part in alone", l.upstream.total())
	}
	if l.known.Store(&names.Table{}); !strings.HasPrefix(l.ask(dnsmessage.TypeA, "www.example.com."), "Success") {
		t.Error("a mesh without names has others not asked")
	}
	if l.known.Store(table()); l.ask(dnsmessage.TypeA, "web.shop.") != "Success web.shop./30=10.0.0.1" {
		t.Error("the names are not told")
	}
}

func TestAddressesTakeTurns(t *testing.T) {
	r, first := many(3), map[string]int{}
	q, err := parse(question(t, dnsmessage.TypeA, "db.shop.svc.cluster.local.", 0))
	if err != nil {
		t.Fatal(err)
	}
	for turn := range uint32(6) {
		var m dnsmessage.Message
		if err := m.Unpack(q.fromTable(r, "", turn, plainSize)); err != nil || len(m.Answers) != 3 {
			t.Fatal(err, m)
		}
		first[said(dnsmessage.Message{Answers: m.Answers[:1]})]++
	}
	if len(first) != 3 {
		t.Errorf("the first address is always one of %v", first)
	}
}

// TestRememberedAddressesTakeTurns: whoever asks again gets the same records, which begin with another one; what comes before them stays.
func TestRememberedAddressesTakeTurns(t *testing.T) {
	zone := func(q dnsmessage.Question) dnsmessage.Message {
		m := dnsmessage.Message{Answers: []dnsmessage.Resource{cname(q.Name.String(), 60, "edge.example.com.")}}
		for i := range 3 {
			address := fmt.Sprintf("192.0.2.%d", i)
			if q.Type == dnsmessage.TypeAAAA {
				address = fmt.Sprintf("2001:db8::%d", i)
			}
			m.Answers = append(m.Answers, a("edge.example.com.", 10, address))
		}
		m.Additionals = []dnsmessage.Resource{a("ns.example.com.", 10, "198.51.100.1")}
		return m
	}
	l := newLab(t, zone)
	for _, typ := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		first, all := map[string]bool{}, map[string]bool{}
		for range 60 {
			m := l.exchange("udp", question(t, typ, "www.example.com.", 0))
			if len(m.Answers) != 4 || m.Answers[0].Header.Type != dnsmessage.TypeCNAME || len(m.Additionals) != 1 {
				t.Fatalf("%+v", m)
			}
			first[said(dnsmessage.Message{Answers: m.Answers[1:2]})] = true
			of := map[string]bool{}
			for _, r := range m.Answers[1:] {
				of[said(dnsmessage.Message{Answers: []dnsmessage.Resource{r}})] = true
			}
			if maps.Copy(all, of); len(of) != 3 {
				t.Fatalf("%s: %v", typ, of)
			}
		}
		if len(first) != 3 || len(all) != 3 {
			t.Errorf("%s: the first address is one of %v, of all %v", typ, first, all)
		}
	}
	if n := l.upstream.total(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestWhatDoesNotFitIsCut(t *testing.T) {
	l := newLab(t, example)
	for _, c := range []struct {
		why, network string
		size, count  int
		cut          bool
	}{
		{"plain UDP holds 512 bytes", "udp", 0, 29, true},
		{"EDNS holds what it says", "udp", 1232, 73, true},
		{"EDNS of less than 512 bytes means 512", "udp", 100, 28, true},
		{"enough room", "udp", 4096, 100, false},
		{"TCP holds all", "tcp", 0, 100, false},
	} {
		raw := question(t, dnsmessage.TypeA, "crowd.shop.svc.cluster.local.", c.size)
		m := l.exchange(c.network, raw)
		if len(m.Answers) != c.count || m.Truncated != c.cut || (len(m.Additionals) == 1) != (c.size > 0) {
			t.Errorf("%s: %d answers, cut %v, %d additional", c.why, len(m.Answers), m.Truncated, len(m.Additionals))
		}
	}
}

// TestAnAliasWithoutRoomIsLeftOut: it comes with an address or not at all.
func TestAnAliasWithoutRoomIsLeftOut(t *testing.T) {
	q, err := parse(question(t, dnsmessage.TypeA, "web.shop.shop.svc.cluster.local.", 0))
	if err != nil {
		t.Fatal(err)
	}
	const of = "web.shop"
	for room, want := range map[int]int{0: 0, aliasSize + len(of) + 15: 0, aliasSize + len(of) + 16: 2, aliasSize + len(of) + 3*16: 4} {
		var m dnsmessage.Message
		raw := q.fromTable(many(3), of, 0, q.end+room)
		if err := m.Unpack(raw); err != nil || len(m.Answers) != want || m.Truncated != (want < 4) || len(raw) > q.end+room {
			t.Errorf("room for %d bytes: %d, %v %+v", room, len(raw), err, m)
		}
	}
}

func TestForwardedAnswersComeAsTheyAre(t *testing.T) {
	l := newLab(t, example)
	const www = "Success www.example.com./60=edge.example.com. edge.example.com./10=192.0.2.1"
	if got := l.ask(dnsmessage.TypeA, "www.example.com."); got != www {
		t.Errorf("an alias: %s", got)
	}
	l.pass(4 * time.Second)
	if got := l.ask(dnsmessage.TypeA, "WWW.example.com."); got != "Success www.example.com./56=edge.example.com. edge.example.com./6=192.0.2.1" &&
		got != "Success WWW.example.com./56=edge.example.com. edge.example.com./6=192.0.2.1" {
		t.Errorf("remembered, its times run: %s", got)
	}
	if n := l.upstream.count("udp A www.example.com."); n != 1 {
		t.Errorf("asked %d times within the TTL", n)
	}
	l.pass(6 * time.Second)
	if got := l.ask(dnsmessage.TypeA, "www.example.com."); got != www || l.upstream.count("udp A www.example.com.") != 2 {
		t.Errorf("the shortest TTL is over: %s, asked %d times", got, l.upstream.count("udp A www.example.com."))
	}
	if got := l.ask(dnsmessage.TypeA, "broken.example.com."); got != "ServerFailure" {
		t.Errorf("a failure: %s", got)
	}
	before := l.upstream.count("udp A brief.example.com.")
	l.ask(dnsmessage.TypeA, "brief.example.com.")
	l.ask(dnsmessage.TypeA, "brief.example.com.")
	if n := l.upstream.count("udp A brief.example.com.") - before; n != 2 {
		t.Errorf("TTL 0 was remembered: %d questions of 2", n)
	}
}

func TestWhatDoesNotExistIsRemembered(t *testing.T) {
	l := newLab(t, example)
	for range 3 {
		if got := l.ask(dnsmessage.TypeA, "none.example.com."); got != "NameError" {
			t.Errorf("no such name: %s", got)
		}
		if got := l.ask(dnsmessage.TypeAAAA, "www.example.com."); got != "Success" {
			t.Errorf("no such type: %s", got)
		}
	}
	if n := l.upstream.total(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	l.pass(20 * time.Second) // the SOA's minimum of the second, less than the first's
	l.ask(dnsmessage.TypeA, "none.example.com.")
	l.ask(dnsmessage.TypeAAAA, "www.example.com.")
	if l.upstream.count("udp A none.example.com.") != 1 || l.upstream.count("udp AAAA www.example.com.") != 2 {
		t.Error("the minimum of the SOA record is not kept")
	}
	l.pass(20 * time.Second) // the SOA's TTL of the first
	l.ask(dnsmessage.TypeA, "none.example.com.")
	if l.upstream.count("udp A none.example.com.") != 2 {
		t.Error("the TTL of the SOA record is not kept")
	}
}

func TestLongAnswersAreFetchedOverTCP(t *testing.T) {
	l := newLab(t, example)
	if m := l.exchange("udp", question(t, dnsmessage.TypeA, "big.example.com.", 4096)); len(m.Answers) != 60 {
		t.Errorf("%d answers to a client with room", len(m.Answers))
	}
	if l.upstream.count("udp A big.example.com.") != 1 || l.upstream.count("tcp A big.example.com.") != 1 {
		t.Error("not asked over UDP first, then TCP")
	}
	if m := l.exchange("udp", question(t, dnsmessage.TypeA, "big.example.com.", 0)); len(m.Answers) != 0 || !m.Truncated {
		t.Errorf("%d answers to a client without", len(m.Answers))
	}
	if m := l.exchange("tcp", question(t, dnsmessage.TypeA, "big.example.com.", 0)); len(m.Answers) != 60 || m.Truncated {
		t.Errorf("%d answers over TCP", len(m.Answers))
	}
	if n := l.upstream.count("tcp A big.example.com."); n != 2 { // with EDNS and without are two questions
		t.Errorf("asked %d times over TCP", n)
	}
}

func TestEDNSReachesTheUpstream(t *testing.T) {
	l := newLab(t, example)
	l.exchange("udp", question(t, dnsmessage.TypeA, "www.example.com.", 1400))
	l.upstream.mu.Lock()
	defer l.upstream.mu.Unlock()
	if more := l.upstream.last.Additionals; len(more) != 1 || more[0].Header.Type != dnsmessage.TypeOPT || more[0].Header.Class != 1400 {
		t.Errorf("%+v", more)
	}
	if l.upstream.last.ID == 77 {
		t.Log("the identifier is the client's, which happens once in 65536 times")
	}
}

func TestBadQuestions(t *testing.T) {
	l := newLab(t, example)
	good := question(t, dnsmessage.TypeA, "web.shop.", 0)
	edit := func(f func([]byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	for why, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"another operation": {edit(func(b []byte) []byte { b[2] |= 5 << 3; return b }), "NotImplemented"},
		"two questions":     {edit(func(b []byte) []byte { b[5] = 2; return b }), "FormatError"},
		"no question":       {edit(func(b []byte) []byte { b[5] = 0; return b }), "FormatError"},
		"a cut question":    {good[:len(good)-3], "FormatError"},
		"a pointer":         {edit(func(b []byte) []byte { b[12], b[13] = 0xC0, 12; return b }), "FormatError"},
		"missing records":   {edit(func(b []byte) []byte { b[11] = 1; return b }), "FormatError"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := said(l.exchange(network, c.raw)); got != c.want {
				t.Errorf("%s over %s: %s, want %s", why, network, got, c.want)
			}
		}
	}
	if reply, q := l.server.known(edit(func(b []byte) []byte { b[2] |= 0x80; return b }), 0); reply != nil || q != nil {
		t.Error("an answer was answered")
	}
	if reply, q := l.server.known(good[:5], 0); reply != nil || q != nil {
		t.Error("less than a header was answered")
	}
	if n := l.upstream.total(); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

func TestASilentServerIsNotWaitedForAlone(t *testing.T) {
	silent, other := newUpstream(t, example), newUpstream(t, example)
	silent.hush()
	f := NewForwarder([]netip.AddrPort{silent.address, other.address}, &net.Dialer{})
	q, err := parse(question(t, dnsmessage.TypeA, "www.example.com.", 0))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := f.forward(t.Context(), q)
	if err != nil || dnsmessage.RCode(reply[3]&0xF) != dnsmessage.RCodeSuccess {
		t.Errorf("%v %x", err, reply)
	}
	if s := f.Stats(); s.Failures != 1 || s.Forwarded != 2 {
		t.Errorf("%+v", s)
	}
}

func TestNoServerAnswers(t *testing.T) {
	gone := netip.MustParseAddrPort(ports.Address(t))
	f := NewForwarder([]netip.AddrPort{gone}, &net.Dialer{})
	s := NewServer(Options{Forwarder: f, Log: slog.New(slog.DiscardHandler)})
	q, err := parse(question(t, dnsmessage.TypeA, "www.example.com.", 1232))
	if err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(s.ask(t.Context(), q, plainSize)); err != nil || said(m) != "ServerFailure" || m.ID != 77 || len(m.Additionals) != 1 {
		t.Errorf("%v %+v", err, m)
	}
}

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	begin, reached := make(chan struct{}), make(chan struct{}, 1)
	up := newUpstream(t, func(q dnsmessage.Question) dnsmessage.Message {
		reached <- struct{}{}
		<-begin
		return example(q)
	})
	f := NewForwarder([]netip.AddrPort{up.address}, &net.Dialer{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			q, err := parse(question(t, dnsmessage.TypeA, "www.example.com.", 0))
			if err != nil {
				t.Error(err)
				return
			}
			q.header.ID = uint16(i)
			reply, err := f.forward(t.Context(), q)
			if err != nil || int(reply[0])<<8|int(reply[1]) != i {
				t.Errorf("question %d: %v", i, err)
			}
		})
	}
	<-reached
	for len(f.slots) < 20 {
		time.Sleep(time.Millisecond)
	}
	close(begin)
	all.Wait()
	if n := up.count("udp A www.example.com."); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestForwardsAreBounded(t *testing.T) {
	f := NewForwarder(nil, &net.Dialer{})
	for range maxForwards {
		f.slots <- struct{}{}
	}
	q, err := parse(question(t, dnsmessage.TypeA, "www.example.com.", 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.forward(t.Context(), q); err == nil || f.Stats().Refused != 1 {
		t.Errorf("one more than the bound: %v %+v", err, f.Stats())
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	c, now := newCache(), time.Unix(0, 0)
	remember := func(host string) *query {
		q, err := parse(question(t, dnsmessage.TypeA, host, 0))
		if err != nil {
			t.Fatal(err)
		}
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 1, Response: true}, Questions: []dnsmessage.Question{q.question},
			Answers: []dnsmessage.Resource{a(host, 1<<30, "192.0.2.1")}}
		raw, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		c.put(q, raw, now)
		return q
	}
	first := remember("first.example.com.")
	second := remember("second.example.com.")
	for i := range maxCached - 1 {
		c.get(first, now, 0)
		remember(fmt.Sprintf("n%d.example.com.", i))
	}
	if c.len() != maxCached || c.get(first, now, 0) == nil || c.get(second, now, 0) != nil {
		t.Errorf("%d answers; the one not asked for the longest is not the one that went", c.len())
	}
	if c.get(first, now.Add(maxLife), 0) != nil {
		t.Error("remembered for more than an hour")
	}
}

func TestSearch(t *testing.T) {
	for text, want := range map[string]string{
		"nameserver 10.96.0.10\nsearch Shop.svc.cluster.local. svc.cluster.local\noptions ndots:5\n": "shop.svc.cluster.local",
		"domain a.test\n# search b.test\nsearch":                                                     "a.test",
		"search a.test\ndomain b.test":                                                               "b.test", "search .": "", "": "",
	} {
		if got := Search(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestServers(t *testing.T) {
	for text, want := range map[string]string{
		"nameserver 10.96.0.10\nsearch a.svc b\noptions ndots:5\n":                        "[10.96.0.10:53]",
		"# nameserver 1.1.1.1\nnameserver fd00::a\nnameserver x\nnameserver fe80::1%eth0": "[[fd00::a]:53 [fe80::1%eth0]:53]",
		"nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver 1.0.0.4":  "[1.0.0.1:53 1.0.0.2:53 1.0.0.3:53]",
		"": "[127.0.0.1:53]",
	} {
		if got := fmt.Sprint(Servers(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

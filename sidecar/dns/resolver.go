package dns

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxServers is how many servers of a resolv.conf count, as in the C library.
const maxServers = 3

const port = 53

// Servers returns the servers that the text of a resolv.conf names; where it names none, the host itself, as the C library does.
func Servers(resolvConf string) []netip.AddrPort {
	var out []netip.AddrPort
	lines := bufio.NewScanner(strings.NewReader(resolvConf))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" || len(out) == maxServers {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, port))
		}
	}
	if len(out) == 0 {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
	}
	return out
}

// Search returns the first domain of the search path that the text of a resolv.conf says, lower case and without a final dot; "": none. As in
// the C library, the last line that says it counts.
func Search(resolvConf string) string {
	out := ""
	lines := bufio.NewScanner(strings.NewReader(resolvConf))
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > 1 && (words[0] == "search" || words[0] == "domain") {
			out = strings.ToLower(strings.Trim(words[1], "."))
		}
	}
	return out
}

// Resolver returns a resolver for the proxy's own use. It reads hosts file and search path as ever; what it asks goes through the
// forwarder, so that it is asked once as long as the answer lasts, however many clusters want to know. The mesh's own names are not
// answered with the mesh's addresses: who resolves a cluster wants to know where it really is.
func (f *Forwarder) Resolver() *Resolver {
	return &Resolver{of: net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe() // no datagrams, so that the resolver speaks as over TCP
		told, _ := ctx.Value(toTell{}).(*shortest)
		go f.inside(server, told)
		return client, nil
	}}, asked: map[lookup]*shortest{}}
}

// Resolver looks names up.
type Resolver struct {
	of net.Resolver

	mu    sync.Mutex
	asked map[lookup]*shortest // now, each of them by one or more
}

// lookup is what net.Resolver does once for all who ask at one time, with the first one's context.
type lookup struct{ network, host string }

// LookupNetIP is net.Resolver's.
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addrs, _, err := r.LookupLasting(ctx, network, host)
	return addrs, err
}

// LookupLasting is LookupNetIP, and tells how long the answer lasts by the servers' word; 0: nobody said, or for this time only.
func (r *Resolver) LookupLasting(ctx context.Context, network, host string) ([]netip.Addr, time.Duration, error) {
	key := lookup{network, host}
	told := r.join(key)
	defer r.leave(key, told)
	addrs, err := r.of.LookupNetIP(context.WithValue(ctx, toTell{}, told), network, host)
	return addrs, told.get(), err
}

// join returns what all who look the same up at one time are told by.
func (r *Resolver) join(key lookup) *shortest {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.asked[key]
	if told == nil {
		told = &shortest{}
		r.asked[key] = told
	}
	told.askers++
	return told
}

func (r *Resolver) leave(key lookup, told *shortest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if told.askers--; told.askers == 0 {
		delete(r.asked, key)
	}
}

// toTell is the context's key for whom to tell how long answers last.
type toTell struct{}

// shortest is the time that the shortest of several answers lasts.
type shortest struct {
	askers int // Resolver.mu is held

	mu    sync.Mutex
	said  bool
	lasts time.Duration
}

// get returns 0 where nobody said.
func (s *shortest) get() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lasts
}

// note takes an answer in; one without records says nothing.
func (s *shortest) note(reply []byte) {
	var p dnsmessage.Parser
	if _, err := p.Start(reply); err != nil || p.SkipAllQuestions() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		h, err := p.AnswerHeader()
		if err != nil {
			return
		}
		if ttl := time.Duration(h.TTL) * time.Second; !s.said || ttl < s.lasts {
			s.said, s.lasts = true, ttl
		}
		if p.SkipAnswer() != nil {
			return
		}
	}
}

// inside answers the questions of a resolver of this process until it hangs up; told, which may be nil, is to learn how long the answers last.
func (f *Forwarder) inside(conn net.Conn, told *shortest) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer conn.Close()
	for {
		raw, err := readMessage(conn)
		if err != nil {
			return
		}
		q, err := parse(raw)
		if err != nil {
			return
		}
		reply := f.remembered(q, 0)
		if reply == nil {
			if reply, err = f.forward(ctx, q); err != nil {
				return // the resolver takes that for a server that cannot be reached, and tries the next
			}
		}
		if told != nil {
			told.note(reply)
		}
		if writeMessage(conn, reply) != nil {
			return
		}
		f.lookups.Add(1)
	}
}

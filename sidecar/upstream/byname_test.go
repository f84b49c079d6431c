package upstream

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/lookup"
)

// phonebook resolves the names that it has.
type phonebook map[string][]string

func (p phonebook) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if p[name] == nil {
		return nil, errors.New("no such host")
	}
	var out []netip.Addr
	for _, a := range p[name] {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func byNames(p phonebook, cfg Config, reachable func(netip.Addr) bool) *Cluster {
	cfg.Discovery, cfg.Balancer = Named, Passthrough
	return NewRegistry(Options{Resolver: p, Reachable: reachable}).Apply(map[string]*Config{"c": &cfg}, nil).Get("c")
}

func anywhere(netip.Addr) bool { return true }

func TestByName(t *testing.T) {
	book := phonebook{"a.example.com.": {"192.0.2.1", "192.0.2.2"}, "local.example.com.": {"127.0.0.1"}, "anything": {"192.0.2.3"}, "link": {"169.254.169.254"},
		"cloud": {"168.63.129.16"}, "a.example.com": {"198.51.100.1"}, "self.example.com.": {"198.51.100.9"}, "two.example.com.": {"203.0.113.1", "203.0.113.2"}}
	within := Config{Names: lookup.Names{Within: "*.example.com", Port: 8080}}
	secured := Config{Sockets: []Socket{{TLS: &refuser{}}}}
	dst := netip.MustParseAddrPort("169.254.169.254:80")
	gateway := Config{Names: lookup.Names{Within: "*.example.com", Port: 8080, Self: []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.9")}}}
	for name, c := range map[string]struct {
		cfg   Config
		asked string
		want  string // empty: nowhere
	}{
		"a host below the wildcard, at the port that the cluster says": {within, "a.example.com:22", "192.0.2.1:8080"},
		"in any case, and with the dot of the root":                    {within, "A.Example.com.", "192.0.2.1:8080"},
		"another host":                       {within, "anything", ""},
		"the wildcard's own suffix":          {within, "example.com", ""},
		"what only ends alike":               {within, "aexample.com", ""},
		"an address":                         {within, "192.0.2.9", ""},
		"what leads to this machine":         {within, "local.example.com", ""},
		"what is not found":                  {within, "b.example.com", ""},
		"nothing":                            {within, "", ""},
		"no name":                            {Config{}, "a b", ""},
		"any name, at the port of plaintext": {Config{}, "anything", "192.0.2.3:80"},
		"any name, at the port of TLS":       {secured, "anything", "192.0.2.3:443"},
		"any name, at its own port":          {secured, "anything:8443", "192.0.2.3:8443"},
		"a port that is none":                {Config{}, "anything:0", ""},
		"a port that is too large":           {Config{}, "anything:65536", ""},
		"an address that is everybody's":     {Config{}, "192.0.2.9:81", "192.0.2.9:81"},
		"one of IPv6":                        {Config{}, "[2001:db8::1]:81", "[2001:db8::1]:81"},
		"loopback":                           {Config{}, "127.0.0.1:15000", ""},
		"loopback of IPv6":                   {Config{}, "[::1]:15000", ""},
		"with a zone":                        {Config{}, "[::1%lo]", ""},
		"a name for a link's address":        {Config{}, "link", ""},
		"the link's address that the client itself connected to": {Config{}, "169.254.169.254", "169.254.169.254:80"},
		"another one of the link":                                {Config{}, "169.254.1.1", ""},
		"a name for a cloud's own address":                       {Config{}, "cloud", ""},
		"that address":                                           {Config{}, "100.100.100.200", ""},
		"what leads back to the gateway":                         {gateway, "self.example.com", ""},
		"what leads elsewhere, too":                              {gateway, "two.example.com", "203.0.113.2:8080"},
	} {
		h, o := byNames(book, c.cfg, nil).PickFor(Key{Name: c.asked}, dst, nil, 1)
		got := ""
		if o == exchange.OK {
			got = h.Endpoint().Address.String()
		}
		if got != c.want || got == "" && o != exchange.NoHealthyUpstream {
			t.Errorf("%s (%q): %q (%v), want %q", name, c.asked, got, o, c.want)
		}
	}
}

// refuser is a Handshaker that is never asked.
type refuser struct{ Handshaker }

// TestNamesAreHosts holds that each name has hosts of its own, whose facts name it, that another address is tried after a failure, and that hosts which
// nobody uses are forgotten.
func TestNamesAreHosts(t *testing.T) {
	c := byNames(phonebook{"a": {"192.0.2.1", "192.0.2.2"}, "b": {"192.0.2.1"}}, Config{}, anywhere)
	pick := func(name string, tried ...*Host) *Host {
		t.Helper()
		h, o := c.PickFor(Key{Name: name}, netip.AddrPort{}, tried, 1)
		if o != exchange.OK {
			t.Fatalf("%s: %v", name, o)
		}
		return h
	}
	one, other := pick("a"), pick("b")
	if one == other || one.Endpoint().Host != "a" || other.Endpoint().Host != "b" || one != pick("A") {
		t.Errorf("hosts %+v and %+v", one.Endpoint(), other.Endpoint())
	}
	second := pick("a", one)
	if second == one || second.Endpoint().Address.String() != "192.0.2.2:80" || pick("a", one, second) != one {
		t.Errorf("after a failure: %+v", second.Endpoint())
	}
	if c.sweep(time.Now().Add(2 * time.Minute)); pick("a") == one {
		t.Error("a host that nobody uses is kept")
	}
}

package route

import (
	"math/bits"
	"net/netip"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// XXH64 of short texts with seed 0, and of "abc" with the hash of "a" as its seed.
const (
	hashA   = 0xd24ec4f1a98c6e5b
	hashABC = 0x44bc2cf5ad770999
)

func hashing(t *testing.T, ps ...HashPolicy) *Route {
	t.Helper()
	table := mustNew(t, Config{VirtualHosts: []VirtualHostConfig{{Name: "v", Domains: []string{"*"}, Routes: []RouteConfig{
		{Match: Match{Path: "/"}, Clusters: []Weighted{{Cluster: "c"}}, Hash: ps}}}}})
	_, r := table.Match(ask("GET a /"))
	return r
}

func TestHash(t *testing.T) {
	header := HashPolicy{Kind: HashHeader, Name: "user"}
	query := HashPolicy{Kind: HashQuery, Name: "q"}
	jar := HashPolicy{Kind: HashCookie, Name: "s"}
	final := header
	final.Terminal = true
	both := bits.RotateLeft64(hashA, 1) ^ hashABC
	for name, c := range map[string]struct {
		policies []HashPolicy
		line     string
		fields   []string
		want     uint64 // 0: none
	}{
		"no policy":                       {nil, "GET a /", nil, 0},
		"header":                          {[]HashPolicy{header}, "GET a /", []string{"user: abc"}, hashABC},
		"header missing":                  {[]HashPolicy{header}, "GET a /", []string{"other: abc"}, 0},
		"the authority is a header":       {[]HashPolicy{{Kind: HashHeader, Name: ":authority"}}, "GET abc /", nil, hashABC},
		"by another name":                 {[]HashPolicy{{Kind: HashHeader, Name: "host"}}, "GET abc /", nil, hashABC},
		"query":                           {[]HashPolicy{query}, "GET a /x?p=1&q=abc&q=2", nil, hashABC},
		"query missing":                   {[]HashPolicy{query}, "GET a /x?p=q", nil, 0},
		"cookie":                          {[]HashPolicy{jar}, "GET a /", []string{"cookie: r=1; s=abc; s=2"}, hashABC},
		"cookie in quotes":                {[]HashPolicy{jar}, "GET a /", []string{`cookie: s="abc" ; t=1`}, hashABC},
		"cookie on another line":          {[]HashPolicy{jar}, "GET a /", []string{"cookie: r=1", "cookie: s=abc"}, hashABC},
		"cookie missing":                  {[]HashPolicy{jar}, "GET a /", []string{"cookie: ss=abc; xs=abc"}, 0},
		"cookie empty":                    {[]HashPolicy{jar}, "GET a /", []string{"cookie: s="}, 0},
		"several are combined":            {[]HashPolicy{header, query}, "GET a /?q=abc", []string{"user: a"}, both},
		"what is missing does not count":  {[]HashPolicy{jar, header, query}, "GET a /?q=abc", nil, hashABC},
		"a terminal one ends it":          {[]HashPolicy{final, query}, "GET a /?q=abc", []string{"user: a"}, hashA},
		"unless it has nothing":           {[]HashPolicy{final, query}, "GET a /?q=abc", nil, hashABC},
		"twice the same is not cancelled": {[]HashPolicy{header, header}, "GET a /", []string{"user: a"}, bits.RotateLeft64(hashA, 1) ^ hashA},
	} {
		t.Run(name, func(t *testing.T) {
			got, given, mints := hashing(t, c.policies...).Hash(ask(c.line, c.fields...))
			if got != c.want || given != (c.want != 0) || mints {
				t.Errorf("got %x %v %v, want %x", got, given, mints, c.want)
			}
		})
	}
}

// TestHashOfLines: the order of a header's lines does not count, each of them does.
func TestHashOfLines(t *testing.T) {
	r := hashing(t, HashPolicy{Kind: HashHeader, Name: "user"})
	one, _, _ := r.Hash(ask("GET a /", "user: a", "user: abc"))
	two, _, _ := r.Hash(ask("GET a /", "user: abc", "user: a"))
	three, _, _ := r.Hash(ask("GET a /", "user: abc", "user: b"))
	if one != two || one == three || one == hashA {
		t.Errorf("%x %x %x", one, two, three)
	}
}

func TestHashOfSource(t *testing.T) {
	r := hashing(t, HashPolicy{Kind: HashSourceIP})
	x := ask("GET a /")
	if _, given, _ := r.Hash(x); given {
		t.Error("a client without an address has a hash")
	}
	x.Remote = netip.MustParseAddr("::ffff:10.0.0.7")
	if got, given, _ := r.Hash(x); !given || got != HashAddr(netip.MustParseAddr("10.0.0.7")) {
		t.Error("an address has two hashes")
	}
}

// TestMint: a client without the cookie is given one for its connection, which leads where its first request went.
func TestMint(t *testing.T) {
	r := hashing(t, HashPolicy{Kind: HashCookie, Name: "s", Cookie: &Cookie{TTL: 90 * time.Second, Path: "/p", Attributes: [][2]string{{"SameSite", "Lax"}, {"Secure", ""}}}})
	x := ask("GET a /")
	x.Conn.Source, x.Conn.Destination = netip.MustParseAddrPort("10.0.0.7:4711"), netip.MustParseAddrPort("10.0.0.9:80")
	first, given, mints := r.Hash(x)
	if !given || !mints {
		t.Fatal("no cookie is wanted")
	}
	r.Mint(x)
	got := x.Response.Get("set-cookie").Copy()
	const want = `s="0123456789abcdef"; Max-Age=90; Path=/p; SameSite=Lax; Secure; HttpOnly`
	if len(got) != len(want) || got[:3] != want[:3] || got[19:] != want[19:] {
		t.Fatalf("got %s, want one like %s", got, want)
	}
	again := ask("GET a /", "cookie: s="+got[3:19])
	if n, _, mints := r.Hash(again); n != first || mints {
		t.Error("the cookie leads elsewhere")
	}
	session := hashing(t, HashPolicy{Kind: HashCookie, Name: "s", Cookie: &Cookie{}})
	y := ask("GET a /")
	session.Mint(y)
	if got := y.Response.Get("set-cookie").Copy(); got[19:] != `"; HttpOnly` && got[20:] != "; HttpOnly" {
		t.Errorf("a cookie for the session: %s", got)
	}
}

// TestMintStopsWhereHashDoes: behind a terminal policy no cookie is made.
func TestMintStopsWhereHashDoes(t *testing.T) {
	r := hashing(t, HashPolicy{Kind: HashHeader, Name: "user", Terminal: true}, HashPolicy{Kind: HashCookie, Name: "s", Cookie: &Cookie{}})
	x := ask("GET a /", "user: a")
	if _, _, mints := r.Hash(x); mints {
		t.Error("a cookie is wanted")
	}
	if r.Mint(x); x.Response.Has("set-cookie") {
		t.Error("a cookie was made")
	}
}

func TestHexHas16Digits(t *testing.T) {
	for n, want := range map[uint64]string{0: "0000000000000000", 1: "0000000000000001", 0x0fffffffffffffff: "0fffffffffffffff", 1 << 60: "1000000000000000", 1<<64 - 1: "ffffffffffffffff"} {
		if got := string(hex(nil, n)); got != want {
			t.Errorf("%x: %s", n, got)
		}
	}
}

var sink uint64

func BenchmarkHash(b *testing.B) {
	x := &exchange.Exchange{}
	x.Reset(&exchange.Connection{})
	x.Request.Add("user", "ann@example.com")
	r := &Route{hash: newHashPolicies([]HashPolicy{{Kind: HashHeader, Name: "user"}})}
	b.ReportAllocs()
	for b.Loop() {
		sink, _, _ = r.Hash(x)
	}
}

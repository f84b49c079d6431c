package rbac

import (
	"net/netip"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

const web = "spiffe://cluster.local/ns/shop/sa/web"

// request is GET /reviews/7?x=1 to catalog.shop:80 from web at 10.0.0.9, through a gateway that saw 192.0.2.1.
func request() *exchange.Exchange {
	x := &exchange.Exchange{Conn: connection()}
	x.Remote = netip.MustParseAddr("192.0.2.1")
	x.Request.Method, x.Request.Path = x.Request.Intern("GET"), x.Request.Intern("/reviews/7?x=1")
	x.Request.Authority = x.Request.Intern("Catalog.shop")
	x.Request.Add("x-user", "ann")
	x.Request.Add("x-group", "a")
	x.Request.Add("x-group", "b")
	return x
}

func connection() *exchange.Connection {
	return &exchange.Connection{
		Source: netip.MustParseAddrPort("10.0.0.9:4000"), Destination: netip.MustParseAddrPort("10.0.0.5:80"), SNI: "outbound_.80_._.catalog",
		Security: &exchange.Security{Mutual: true, Identity: exchange.Identity{URI: web}},
	}
}

func exact(s string) match.Config  { return match.Config{Value: s} }
func prefix(s string) match.Config { return match.Config{Kind: match.Prefix, Value: s} }

func TestConditions(t *testing.T) {
	cidr := netip.MustParsePrefix
	for name, c := range map[string]struct {
		rule Rule
		want bool
	}{
		"any":                               {Rule{Kind: Any}, true},
		"empty and":                         {Rule{Kind: And}, true},
		"empty or":                          {Rule{Kind: Or}, false},
		"not any":                           {Rule{Kind: Not, Rules: []Rule{{Kind: Any}}}, false},
		"method":                            {Rule{Kind: Header, Name: ":method", Match: exact("GET")}, true},
		"another method":                    {Rule{Kind: Header, Name: ":method", Match: exact("POST")}, false},
		"host, any case":                    {Rule{Kind: Header, Name: ":authority", Match: match.Config{Value: "catalog.SHOP", IgnoreCase: true}}, true},
		"path without query":                {Rule{Kind: Path, Match: exact("/reviews/7")}, true},
		"path prefix":                       {Rule{Kind: Path, Match: prefix("/reviews/")}, true},
		"path suffix does not see query":    {Rule{Kind: Path, Match: match.Config{Kind: match.Suffix, Value: "x=1"}}, false},
		"template, one segment":             {Rule{Kind: Template, Pattern: "/reviews/{*}"}, true},
		"template, rest":                    {Rule{Kind: Template, Pattern: "/{**}"}, true},
		"template, rest may be empty":       {Rule{Kind: Template, Pattern: "/reviews/7/{**}"}, false},
		"template, too few":                 {Rule{Kind: Template, Pattern: "/{*}"}, false},
		"template, middle":                  {Rule{Kind: Template, Pattern: "/{*}/7"}, true},
		"template, envoy's spelling":        {Rule{Kind: Template, Pattern: "/*/7"}, true},
		"header":                            {Rule{Kind: Header, Name: "x-user", Match: exact("ann")}, true},
		"header inverted":                   {Rule{Kind: Header, Name: "x-user", Match: exact("ann"), Invert: true}, false},
		"two lines are no list":             {Rule{Kind: Header, Name: "x-group", Match: exact("a,b")}, false},
		"the first of two lines":            {Rule{Kind: Header, Name: "x-group", Match: exact("a")}, true},
		"the second of two lines":           {Rule{Kind: Header, Name: "x-group", Match: exact("b")}, true},
		"neither of two lines":              {Rule{Kind: Header, Name: "x-group", Match: exact("a"), Invert: true}, false},
		"missing":                           {Rule{Kind: Header, Name: "x-none", Match: exact("")}, false},
		"missing inverted":                  {Rule{Kind: Header, Name: "x-none", Match: exact("a"), Invert: true}, false},
		"missing counts as present":         {Rule{Kind: Header, Name: "x-none", Present: true, MissingAsEmpty: true}, true},
		"missing is not absent":             {Rule{Kind: Header, Name: "x-none", Present: true, Invert: true, MissingAsEmpty: true}, false},
		"missing counts as empty":           {Rule{Kind: Header, Name: "x-none", Match: exact(""), MissingAsEmpty: true}, true},
		"present":                           {Rule{Kind: Header, Name: "x-user", Present: true}, true},
		"absent":                            {Rule{Kind: Header, Name: "x-none", Present: true, Invert: true}, true},
		"destination port":                  {Rule{Kind: DestinationPort, Port: 80}, true},
		"another port":                      {Rule{Kind: DestinationPort, Port: 8080}, false},
		"destination address":               {Rule{Kind: DestinationIP, Prefix: cidr("10.0.0.0/29")}, true},
		"server name":                       {Rule{Kind: ServerName, Match: match.Config{Kind: match.Suffix, Value: "catalog"}}, true},
		"principal":                         {Rule{Kind: Principal, Match: exact(web)}, true},
		"same account, another namespace":   {Rule{Kind: Principal, Match: exact("spiffe://cluster.local/ns/other/sa/web")}, false},
		"peer":                              {Rule{Kind: Peer}, true},
		"peer's address":                    {Rule{Kind: DirectSource, Prefix: cidr("10.0.0.9/32")}, true},
		"peer's address is not the client":  {Rule{Kind: DirectSource, Prefix: cidr("192.0.2.0/24")}, false},
		"client's address":                  {Rule{Kind: Source, Prefix: cidr("192.0.2.0/24")}, true},
		"address of another family":         {Rule{Kind: Source, Prefix: cidr("::/0")}, false},
		"and of one false":                  {Rule{Kind: And, Rules: []Rule{{Kind: Any}, {Kind: Or}}}, false},
		"or of one true":                    {Rule{Kind: Or, Rules: []Rule{{Kind: Or}, {Kind: Any}}}, true},
		"spoofed certificate header is air": {Rule{Kind: Principal, Match: exact("spiffe://cluster.local/ns/shop/sa/admin")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := New(Config{Policies: []Policy{{Name: "p", Permissions: []Rule{c.rule}, Principals: []Rule{{Kind: Any}}}}})
			if err != nil {
				t.Fatal(err)
			}
			x := request()
			x.Request.Add("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/admin")
			if got := f.Request(x) == exchange.OK; got != c.want {
				t.Errorf("matches: %v", got)
			}
		})
	}
}

func TestPlaintextPeerIsNobody(t *testing.T) {
	for _, kind := range []Kind{Peer, Principal} {
		rule := Rule{Kind: kind, Match: prefix("")}
		f, err := NewNetwork(Config{Policies: []Policy{{Permissions: []Rule{{Kind: Any}}, Principals: []Rule{rule}}}})
		if err != nil {
			t.Fatal(err)
		}
		c := connection()
		if f.Connection(c) != exchange.OK {
			t.Error("an authenticated peer was refused")
		}
		c.Security = nil
		if f.Connection(c) != exchange.Denied {
			t.Error("a plaintext peer passed")
		}
		c.Security = &exchange.Security{Identity: exchange.Identity{URI: web}}
		if f.Connection(c) != exchange.Denied {
			t.Error("an unverified identity passed")
		}
	}
}

// TestNamesOfCertificates: without a URI, or with several, the other names count too.
func TestNamesOfCertificates(t *testing.T) {
	const elsewhere = "spiffe://partner.example/web"
	alice := exchange.Security{Mutual: true, DNS: []string{"alice.example.com"}, Subject: "CN=alice,O=partner"}
	both := exchange.Security{Mutual: true, Identity: exchange.Identity{URI: web}, DNS: []string{"web.example.com"}}
	several := exchange.Security{Mutual: true, URIs: []string{elsewhere, web}}
	for name, c := range map[string]struct {
		security exchange.Security
		rule     Rule
		want     bool
	}{
		"any":                       {alice, Rule{Kind: Peer}, true},
		"any, of no name":           {exchange.Security{Mutual: true}, Rule{Kind: Peer}, true},
		"any, not verified":         {exchange.Security{DNS: alice.DNS, Subject: alice.Subject}, Rule{Kind: Peer}, false},
		"a DNS name":                {alice, Rule{Kind: Principal, Match: exact("alice.example.com")}, true},
		"another DNS name":          {alice, Rule{Kind: Principal, Match: exact("bob.example.com")}, false},
		"a DNS name, not verified":  {exchange.Security{DNS: alice.DNS}, Rule{Kind: Principal, Match: exact("alice.example.com")}, false},
		"a DNS name beside a URI":   {both, Rule{Kind: Principal, Match: exact("web.example.com")}, true},
		"a URI beside a DNS name":   {both, Rule{Kind: Principal, Match: exact(web)}, true},
		"a URI for a DNS name":      {exchange.Security{Mutual: true, DNS: []string{web}}, Rule{Kind: Principal, Match: exact(web)}, false},
		"a subject":                 {alice, Rule{Kind: Principal, Match: exact("CN=alice,O=partner")}, true},
		"part of a subject":         {alice, Rule{Kind: Principal, Match: match.Config{Kind: match.Contains, Value: "O=partner"}}, true},
		"a subject, not verified":   {exchange.Security{Subject: alice.Subject}, Rule{Kind: Principal, Match: prefix("CN=")}, false},
		"the first of several URIs": {several, Rule{Kind: Principal, Match: exact(elsewhere)}, true},
		"another of several URIs":   {several, Rule{Kind: Principal, Match: exact(web)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := NewNetwork(Config{Policies: []Policy{{Permissions: []Rule{{Kind: Any}}, Principals: []Rule{c.rule}}}})
			if err != nil {
				t.Fatal(err)
			}
			conn := connection()
			conn.Security = &c.security
			if got := f.Connection(conn) == exchange.OK; got != c.want {
				t.Errorf("matches: %v", got)
			}
		})
	}
}

// TestClaims: an identity that is only claimed never lets anyone through.
func TestClaims(t *testing.T) {
	who := Rule{Kind: Principal, Match: exact(web)}
	nobody, double := Rule{Kind: Not, Rules: []Rule{who}}, Rule{Kind: Not, Rules: []Rule{{Kind: Not, Rules: []Rule{who}}}}
	for _, claim := range []exchange.Security{{Mutual: true, Claimed: []string{web}}, {Mutual: true, DNS: []string{web}}} {
		for _, action := range []Action{Allow, Deny} {
			for _, rule := range []Rule{who, nobody, double, {Kind: And, Rules: []Rule{who}}, {Kind: Or, Rules: []Rule{nobody}}} {
				f, err := NewNetwork(Config{action, []Policy{{Permissions: []Rule{{Kind: Any}}, Principals: []Rule{rule}}}})
				if err != nil {
					t.Fatal(err)
				}
				conn := connection()
				conn.Security = &claim
				if f.Connection(conn) != exchange.Denied {
					t.Errorf("%+v lets %+v through, action %d", rule, claim, action)
				}
			}
		}
	}
}

func TestActions(t *testing.T) {
	everyone, nobody := []Rule{{Kind: Any}}, []Rule{{Kind: Or}}
	for name, c := range map[string]struct {
		config  Config
		want    exchange.Outcome
		details string
	}{
		"no ALLOW policy matches": {Config{Allow, []Policy{{"ns[a]-policy[b]-rule[0]", everyone, nobody}, {"c", nobody, everyone}}}, exchange.Denied,
			"rbac_access_denied_matched_policy[none]consulted[ns[a]-policy[b]-rule[0],c]"},
		"no ALLOW policy at all": {Config{Action: Allow}, exchange.Denied, "rbac_access_denied_matched_policy[none]consulted[]"},
		"an ALLOW policy":        {Config{Allow, []Policy{{"a", everyone, nobody}, {"b", everyone, everyone}}}, exchange.OK, ""},
		"a DENY policy":          {Config{Deny, []Policy{{"a b", everyone, everyone}}}, exchange.Denied, "rbac_access_denied_matched_policy[a_b]"},
		"no DENY policy matches": {Config{Deny, []Policy{{"a", everyone, nobody}}}, exchange.OK, ""},
		"no DENY policy at all":  {Config{Action: Deny}, exchange.OK, ""},
		"a policy without rules": {Config{Allow, []Policy{{Name: "a"}}}, exchange.Denied, "rbac_access_denied_matched_policy[none]consulted[a]"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := New(c.config)
			if err != nil {
				t.Fatal(err)
			}
			x := request()
			if got := f.Request(x); got != c.want || x.Details != c.details {
				t.Errorf("got %v %q", got, x.Details)
			}
		})
	}
}

func TestRefusesWhatItCannotJudge(t *testing.T) {
	for name, rule := range map[string]Rule{
		"bad regex":         {Kind: Path, Match: match.Config{Kind: match.Regex, Value: "("}},
		"bad template":      {Kind: Template, Pattern: "/a{*}"},
		"relative template": {Kind: Template, Pattern: "a"},
		"nested bad regex":  {Kind: Not, Rules: []Rule{{Kind: And, Rules: []Rule{{Kind: Path, Match: match.Config{Kind: match.Regex, Value: "("}}}}}},
		"not of nothing":    {Kind: Not},
		"unknown kind":      {Kind: 99},
	} {
		if _, err := New(Config{Policies: []Policy{{Permissions: []Rule{rule}}}}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, kind := range []Kind{Header, Path, Template} {
		if _, err := NewNetwork(Config{Policies: []Policy{{Permissions: []Rule{{Kind: kind, Pattern: "/"}}}}}); err == nil {
			t.Errorf("kind %d was accepted for connections", kind)
		}
	}
}

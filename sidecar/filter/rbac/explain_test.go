package rbac

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/match"
)

// Each condition that does not hold is told in words, with what there is instead.
func TestMissingIsTold(t *testing.T) {
	for want, r := range map[string]Rule{
		`wants method "POST", but there is "GET"`:                                      {Kind: Header, Name: ":method", Match: exact("POST")},
		`wants header x-user prefix "b", but there is "ann"`:                           {Kind: Header, Name: "x-user", Match: prefix("b")},
		`wants header x-none "a", but there is none`:                                   {Kind: Header, Name: "x-none", Match: exact("a")},
		`wants no header x-user, but there is "ann"`:                                   {Kind: Header, Name: "x-user", Present: true, Invert: true},
		`wants header x-none, but there is none`:                                       {Kind: Header, Name: "x-none", Present: true},
		`wants header x-user other than "ann", but there is "ann"`:                     {Kind: Header, Name: "x-user", Match: exact("ann"), Invert: true},
		`wants path "/admin", but there is "/reviews/7"`:                               {Kind: Path, Match: exact("/admin")},
		`wants path like "/a/{*}", but there is "/reviews/7"`:                          {Kind: Template, Pattern: "/a/{*}"},
		`wants destination port 90, but there is 80`:                                   {Kind: DestinationPort, Port: 90},
		`wants destination address in 10.9.0.0/16, but there is 10.0.0.5`:              {Kind: DestinationIP, Prefix: netip.MustParsePrefix("10.9.0.0/16")},
		`wants peer address in 10.9.0.0/16, but there is 10.0.0.9`:                     {Kind: DirectSource, Prefix: netip.MustParsePrefix("10.9.0.0/16")},
		`wants client address in 10.9.0.0/16, but there is 192.0.2.1`:                  {Kind: Source, Prefix: netip.MustParsePrefix("10.9.0.0/16")},
		`wants SNI "a", but there is "outbound_.80_._.catalog"`:                        {Kind: ServerName, Match: exact("a")},
		`wants client identity "a" or client identity "b", but there is "` + web + `"`: {Kind: Or, Rules: []Rule{{Kind: Principal, Match: exact("a")}, {Kind: Principal, Match: exact("b")}}},
		`wants client identity regex "x.*", but there is "` + web + `"`:                {Kind: And, Rules: []Rule{{Kind: Any}, {Kind: Principal, Match: match.Config{Kind: match.Regex, Value: "x.*"}}}},
		`wants not path "/reviews/7", but there is "/reviews/7"`:                       {Kind: Not, Rules: []Rule{{Kind: Path, Match: exact("/reviews/7")}}},
		`wants what never is: it matches nothing`:                                      {Kind: Not, Rules: []Rule{{Kind: Any}}},
	} {
		f, err := New(Config{Policies: []Policy{{Name: "p", Permissions: []Rule{r}, Principals: []Rule{{Kind: Any}}}}})
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		x := request()
		asked := f.Explain(x.Conn, x)
		if len(asked) != 1 || asked[0].Met || len(asked[0].Missed) != 1 || asked[0].Missed[0] != (Missed{"permissions", 0, want}) {
			t.Errorf("want %q, got %+v", want, asked)
		}
		if f.Request(x) != exchange.Denied {
			t.Errorf("%s: Request says otherwise", want)
		}
	}
}

// The first policy that is met decides, for requests and for connections.
func TestPoliciesAreConsultedInOrder(t *testing.T) {
	to := func(name string, port uint16) Policy {
		return Policy{Name: name, Permissions: []Rule{{Kind: DestinationPort, Port: port}}, Principals: []Rule{{Kind: Peer}}}
	}
	f, err := NewNetwork(Config{Action: Deny, Policies: []Policy{to("a", 90), to("b", 80), to("c", 80)}})
	if err != nil {
		t.Fatal(err)
	}
	asked := f.Explain(connection(), nil)
	if len(asked) != 2 || asked[0].Met || !asked[1].Met || asked[1].Policy != "b" || f.Action() != Deny {
		t.Errorf("got %+v", asked)
	}
	plain := connection()
	plain.Security = nil
	asked = f.Explain(plain, nil)
	if len(asked) != 3 || !strings.Contains(asked[2].Missed[0].Why, "plaintext") || asked[2].Missed[0].Of != "principals" {
		t.Errorf("got %+v", asked)
	}
}

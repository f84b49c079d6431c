//go:build !race || norace

package rbac

import (
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/match"
)

func TestJudgingAllocatesNothing(t *testing.T) {
	f, err := New(Config{Action: Deny, Policies: []Policy{{Name: "p",
		Permissions: []Rule{{Kind: And, Rules: []Rule{
			{Kind: Header, Name: ":method", Match: exact("GET")}, {Kind: Path, Match: match.Config{Kind: match.Contains, Value: "views"}},
			{Kind: Template, Pattern: "/reviews/{*}"}, {Kind: Header, Name: "x-group", Match: exact("b")}}}},
		Principals: []Rule{{Kind: Principal, Match: match.Config{Kind: match.Regex, Value: "spiffe://.*/ns/bank/.*"}}, {Kind: Principal, Match: exact(web)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	x := request()
	for range 20 {
		f.Request(x) // grow the head's own memory
	}
	x.Request.Fields = x.Request.Fields[:len(x.Request.Fields):len(x.Request.Fields)]
	if n := testing.AllocsPerRun(100, func() { f.Request(x) }); n > 0.5 {
		t.Errorf("%v allocations", n)
	}
}

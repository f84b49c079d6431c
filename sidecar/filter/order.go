package filter

import (
	"fmt"
	"slices"
)

// Kind names what a filter is for.
type Kind uint8

// Order: requests meet filters from the top down, responses from the bottom up. What runs before any filter is not
// here because it is not optional: forward prepares the head (path normalised, foreign x-envoy-* removed, client address
// settled, XFCC sanitised, request id given) and matches the route.
const (
	Deny      Kind = iota + 1 // refusals before grants: a DENY policy wins over every ALLOW
	Allow                     // then grants: no ALLOW match means 403
	GRPCWeb                   // what is refused further on is answered in gRPC-Web too
	RateLimit                 // who is refused before takes no part of the rate
	CORS                      // after authorisation, so that a preflight cannot tell which origins a denied caller may use
	Fault                     // what is injected stands for the upstream's behaviour, not for ours
	Session                   // last: it says which endpoint, for requests that go to one
	Kinds                     // how many there are, plus one
)

// String returns the name used in dumps and field paths.
func (k Kind) String() string {
	return [Kinds]string{"", "rbac.deny", "rbac.allow", "grpc_web", "local_ratelimit", "cors", "fault", "stateful_session"}[k]
}

// Sort puts filters into their order; two of one kind keep theirs (several RBAC filters of one action may follow each
// other).
func Sort(fs []Named) ([]Named, error) {
	for _, f := range fs {
		if f.Kind == 0 || f.Kind >= Kinds {
			return nil, fmt.Errorf("filter kind %d: unknown", f.Kind)
		}
	}
	out := slices.Clone(fs)
	slices.SortStableFunc(out, func(a, b Named) int { return int(a.Kind) - int(b.Kind) })
	return out, nil
}

package rbac

import (
	"net/netip"

	"github.com/heddle-mesh/heddle/sidecar/match"
)

// Action says what a matching policy means.
type Action uint8

// The actions.
const (
	Allow Action = iota // no policy matches: denied
	Deny                // a policy matches: denied
)

// Config is one set of policies.
type Config struct {
	Action   Action
	Policies []Policy
}

// Policy matches where one of its permissions and one of its principals do.
type Policy struct {
	Name        string // in log details
	Permissions []Rule // what is done
	Principals  []Rule // by whom
}

// Kind says what a Rule looks at.
type Kind uint8

// The kinds. The third block needs an HTTP request.
const (
	Any Kind = iota // always true
	And
	Or
	Not // of Rules[0]

	DestinationIP
	DestinationPort
	ServerName   // SNI, by Match
	Principal    // a name in the peer's verified certificate, by Match: a URI, a DNS name or its subject
	Peer         // any peer with a verified certificate
	DirectSource // the peer's address, by Prefix
	Source       // the client's address, X-Forwarded-For considered where it is trusted, by Prefix

	Header // by Match, or Present
	Path   // without its query, by Match
	Template
)

// Rule is one condition, or several.
type Rule struct {
	Kind   Kind
	Rules  []Rule
	Prefix netip.Prefix
	Port   uint16
	Match  match.Config
	// Header only. A missing header does not match, whatever Invert says, unless MissingAsEmpty.
	Name           string // lower case; ":method", ":authority", ":path", ":scheme" too
	Present        bool   // compare nothing
	Invert         bool
	MissingAsEmpty bool
	Pattern        string // Template: segments, "{*}" for any one, "{**}" for any number
}

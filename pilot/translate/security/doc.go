// Package security translates PeerAuthentication and AuthorizationPolicy. It is pure, and it fails closed: a policy that is not
// fully understood still selects whom its author meant, and lets nobody through. It never decides about a request.
package security

import "github.com/heddle-mesh/heddle/pilot/translate/fields"

// reader reads one object.
type reader struct{ fields.Reader }

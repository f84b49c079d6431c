// Package revision names what belongs to one of several control planes beside each other. It knows no cluster.
package revision

import (
	"fmt"
	"regexp"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Name is what an object of the control plane is called in a revision: its own name in the default one ("" or wire.DefaultRevision), otherwise
// with the revision's behind it.
func Name(object, of string) string {
	if IsDefault(of) {
		return object
	}
	return object + "-" + of
}

// IsDefault reports whether a revision is the one without a name.
func IsDefault(of string) bool { return of == "" || of == wire.DefaultRevision }

// Label is what wire.RevisionLabel says of a revision.
func Label(of string) string {
	if IsDefault(of) {
		return wire.DefaultRevision
	}
	return of
}

// most leaves room in a label of DNS for the names that a revision's name is put behind.
const most = 40

// Check returns why a revision or a tag cannot be called so; nil: it can.
func Check(name string) error {
	if len(name) > most || !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(name) {
		return fmt.Errorf("%q is no name of a revision or a tag: it has to be of at most %d small letters, digits and dashes", name, most)
	}
	return nil
}

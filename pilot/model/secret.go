package model

import (
	"errors"
	"fmt"
)

// Secret is what a gateway needs of a Secret: a certificate with its key, and roots to trust with what they revoked, as PEM; and an OCSP
// response about the certificate, as DER (RFC 6960). Any of them may be empty.
type Secret struct{ Certificate, Key, CA, CRL, Staple []byte }

// ErrNoSecret is the error for a Secret that is not there.
var ErrNoSecret = errors.New("not found")

// String tells what there is, and none of it.
func (s Secret) String() string {
	return fmt.Sprintf("certificate %d bytes, key %d bytes, CA %d bytes", len(s.Certificate), len(s.Key), len(s.CA))
}

// GoString is String: a key must not get into a log by any verb.
func (s Secret) GoString() string { return s.String() }

package mtls

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"
)

// revoked looks for a revoked certificate in a verified path. Where there are lists, each authority in the path must have one that is good now, as in
// Envoy: nobody knows what the others revoked.
func (t *trust) revoked(path []*x509.Certificate, now time.Time) error {
	if len(t.crls) == 0 {
		return nil
	}
	for i, cert := range path[:len(path)-1] {
		if err := t.listed(cert, path[i+1], now); err != nil {
			return err
		}
	}
	return nil
}

// listed refuses a certificate that a list of its issuer names, and one whose issuer has no good list.
func (t *trust) listed(cert, issuer *x509.Certificate, now time.Time) error {
	good, why := false, fmt.Errorf("there is no list of %s", cert.Issuer)
	for _, list := range t.crls {
		if !bytes.Equal(list.RawIssuer, cert.RawIssuer) {
			continue
		}
		if err := usable(list, issuer, now); err != nil {
			why = err
			continue
		}
		good = true
		for i := range list.RevokedCertificateEntries {
			if list.RevokedCertificateEntries[i].SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return fmt.Errorf("certificate %x is revoked", cert.SerialNumber)
			}
		}
	}
	if !good {
		return fmt.Errorf("certificate %x may be revoked: %w", cert.SerialNumber, why)
	}
	return nil
}

// usable says whether a list says now what its issuer revoked. One with critical extensions says it of some certificates only, or in part.
func usable(list *x509.RevocationList, issuer *x509.Certificate, now time.Time) error {
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("the list of %s does not verify: %w", list.Issuer, err)
	}
	switch {
	case slices.ContainsFunc(list.Extensions, func(e pkix.Extension) bool { return e.Critical }):
		return fmt.Errorf("the list of %s has extensions that are not implemented", list.Issuer)
	case now.Before(list.ThisUpdate):
		return fmt.Errorf("the list of %s is not valid before %s", list.Issuer, list.ThisUpdate.Format(time.RFC3339))
	case !list.NextUpdate.IsZero() && now.After(list.NextUpdate):
		return fmt.Errorf("the list of %s expired at %s", list.Issuer, list.NextUpdate.Format(time.RFC3339))
	}
	return nil
}

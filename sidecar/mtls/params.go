package mtls

import (
	"crypto/tls"
	"fmt"
	"slices"
)

// Params are the versions and suites of one setting. The zero value is the mesh's own: TLS 1.2 and 1.3, forward secrecy and AES-GCM
// only.
type Params struct {
	Min, Max uint16        // tls.VersionTLS..; 0: 1.2 and 1.3
	Suites   []uint16      // of TLS 1.2; none: the mesh's own
	Curves   []tls.CurveID // for key exchange; none: crypto/tls's own
}

func (p Params) apply(c *tls.Config) {
	c.MinVersion, c.MaxVersion, c.CipherSuites, c.CurvePreferences = p.Min, p.Max, p.Suites, p.Curves
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if c.MaxVersion == 0 {
		c.MaxVersion = tls.VersionTLS13
	}
	if len(c.CipherSuites) == 0 {
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		}
	}
}

// opensslNames are the suites that xDS names in OpenSSL's spelling.
func opensslNames() map[string]uint16 {
	return map[string]uint16{
		"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
		"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
		"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
		"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
		"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	}
}

// Suites returns the suites of the OpenSSL names, and an error for a name that is unknown.
func Suites(names []string) ([]uint16, error) {
	known := opensslNames()
	var out []uint16
	for _, name := range names {
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("cipher suite %q is unknown", name)
		}
		out = append(out, id)
	}
	return out, nil
}

// SuiteNames returns OpenSSL's names of suites, for dumps.
func SuiteNames(ids []uint16) []string {
	var out []string
	for name, id := range opensslNames() {
		if slices.Contains(ids, id) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Curves returns the groups for key exchange of Envoy's names, and an error for a name that is unknown.
func Curves(names []string) ([]tls.CurveID, error) {
	known := map[string]tls.CurveID{
		"P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521, "X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768,
	}
	var out []tls.CurveID
	for _, name := range names {
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("curve %q is unknown", name)
		}
		out = append(out, id)
	}
	return out, nil
}

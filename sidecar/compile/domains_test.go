package compile

import (
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Only a prefix that holds a whole trust domain and nothing else stands for the endpoint's identity; all else is a name.
func TestNamesByDomain(t *testing.T) {
	for prefix, domain := range map[string]bool{
		"spiffe://cluster.local/": true, "spiffe://a/": true,
		"": false, "spiffe://": false, "spiffe:///": false, "spiffe://cluster.local": false, "spiffe://cluster.local/ns/": false, "https://cluster.local/": false,
	} {
		of := func(m *matcher.StringMatcher) *tlsv3.CertificateValidationContext {
			return &tlsv3.CertificateValidationContext{MatchSubjectAltNames: []*matcher.StringMatcher{m}}
		}
		typed := func(kind tlsv3.SubjectAltNameMatcher_SanType, m *matcher.StringMatcher) *tlsv3.CertificateValidationContext {
			return &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{SanType: kind, Matcher: m}}}
		}
		starts := &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Prefix{Prefix: prefix}}
		for what, c := range map[string]struct {
			in     *tlsv3.CertificateValidationContext
			domain bool
		}{
			"a prefix":                {of(starts), domain},
			"a URI's":                 {typed(tlsv3.SubjectAltNameMatcher_URI, starts), domain},
			"a DNS name's":            {typed(tlsv3.SubjectAltNameMatcher_DNS, starts), false},
			"the exact name":          {of(&matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: prefix}}), false},
			"a prefix in either case": {of(&matcher.StringMatcher{IgnoreCase: true, MatchPattern: &matcher.StringMatcher_Prefix{Prefix: prefix}}), false},
		} {
			all, err := sans(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if names, domains := byDomain(all); (len(domains) == 1) != c.domain || len(names)+len(domains) != 1 {
				t.Errorf("%s of %q: names %v, domains %v", what, prefix, names, domains)
			}
		}
	}
}

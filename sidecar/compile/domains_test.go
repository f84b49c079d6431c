package compile

import (
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// Only a prefix that holds a whole trust domain and nothing else stands for the endpoint's identity; all else is a name.
func TestNamesByDomain(t *testing.T) {
	for prefix, domain := range map[string]bool{
		"spiffe://cluster.local/": true, "spiffe://a/": true,
		"": false, "spiffe://": false, "spiffe:///": false, "spiffe://cluster.local": false, "spiffe://cluster.local/ns/": false, "https://cluster.local/": false,
	} {
		of := func(m *matcher.StringMatcher) *tlsv3.CertificateValidationContext {
			//lint:ignore SA1019 it is what meshes speak
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

// A server whose clients others vouch for knows all trust domains of the mesh, and learns of new ones though its chain is what it was.
func TestServersKnowTheMeshsDomains(t *testing.T) {
	const text = `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: edge
address: {socket_address: {address: 0.0.0.0, port_value: 8443}}
metadata: {filter_metadata: {heddle.self: {workload: edge DOMAINS}}}
filter_chains:
- transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
      require_client_certificate: true
      common_tls_context:
        tls_certificate_sds_secret_configs: [{name: "kubernetes://edge", sds_config: {ads: {}}}]
        combined_validation_context: {default_validation_context: {}, validation_context_sds_secret_config: {name: "kubernetes://edge-cacert", sds_config: {ads: {}}}}
  filters:
  - name: tcp
    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: x, cluster: x}
`
	b := &builder{options: &newCompiler().options, before: newNeeds(), needs: newNeeds()}
	var chains map[string]*madeChain
	for _, domains := range [][]string{nil, {"new.example.com", "cluster.local"}, {"new.example.com"}} {
		said := ""
		if domains != nil {
			said = `, trust_domains: "` + strings.Join(domains, ",") + `"`
		}
		changed, _ := resources(t, strings.Replace(text, " DOMAINS", said, 1))
		in := &listenerv3.Listener{}
		if err := proto.Unmarshal(changed[0].Body, in); err != nil {
			t.Fatal(err)
		}
		var l *config.Listener
		var err error
		if l, chains, err = b.listener(in, chains); err != nil {
			t.Fatal(err)
		}
		if got := l.Chains[0].TLS.(*mtls.Server).Config().Domains; !slices.Equal(got, domains) {
			t.Errorf("told of %q, it knows %q", domains, got)
		}
	}
}

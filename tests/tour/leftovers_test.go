package tour

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/samples"
)

// What a claim applies, the next tour can take away: every rule of every sample is known, and nothing that the shop is made of.
func TestRulesAreThoseOfTheSamples(t *testing.T) {
	rules, err := new(Cluster).rules()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range rules {
		got = append(got, o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName())
	}
	for _, want := range []string{
		"AuthorizationPolicy shop/catalog-readers", "AuthorizationPolicy shop/no-status", "PeerAuthentication shop/default", "DestinationRule shop/catalog",
		"VirtualService shop/catalog", "VirtualService shop/ledger", "Sidecar shop/default", "ServiceEntry shop/outside", "Gateway heddle-gateways/internet",
		"DestinationRule heddle-gateways/secure-outside",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among them", want)
		}
	}
	known := 0
	paths, err := fs.Glob(samples.FS, "*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := fs.ReadFile(samples.FS, path)
		if err != nil {
			t.Fatal(err)
		}
		known += strings.Count(string(text), ".istio.io/")
	}
	if known != len(rules) {
		t.Errorf("%d rules of %d in the samples", len(rules), known)
	}
}

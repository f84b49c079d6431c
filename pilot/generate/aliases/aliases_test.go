package aliases_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heddle-mesh/heddle/pilot/generate/aliases"
	"github.com/heddle-mesh/heddle/pilot/model"
)

func TestEnds(t *testing.T) {
	services := map[string][]*model.Service{"real": {{Host: "real"}}}
	for host, of := range map[string]string{"one": "real", "two": "one", "three": "two", "away": "www.example.com", "self": "self", "a": "b", "b": "a", "into": "a", "none": ""} {
		services[host] = []*model.Service{{Host: host, Resolution: model.ResolveAlias, AliasOf: of}}
	}
	want := map[string]string{"one": "real", "two": "real", "three": "real", "away": "www.example.com", "self": "", "a": "", "b": "", "into": "", "none": ""}
	for range 20 { // maps have no order
		if diff := cmp.Diff(want, aliases.Ends(services)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

package source

import (
	"testing"

	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// TestAddressesThatWereGivenAreNews: they are what a replica that did not give them must give, too.
func TestAddressesThatWereGivenAreNews(t *testing.T) {
	entry := func(value string) *inputs.ServiceEntry {
		o := &inputs.ServiceEntry{Given: []inputs.HostAddress{{Host: "a", Value: value}}}
		o.Generation = 1
		return o
	}
	if !sameContent(entry("240.240.0.1"), entry("240.240.0.1")) || sameContent(entry("240.240.0.1"), entry("240.240.0.2")) {
		t.Error("entries are the same although their addresses are not, or are not although they are")
	}
}

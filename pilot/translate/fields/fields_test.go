package fields

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/report"
)

func TestExpand(t *testing.T) {
	for in, want := range map[string][]string{
		"a":               {"a"},
		"a.{b,c}":         {"a.b", "a.c"},
		"a.{b.{c,d},e}.f": {"a.b.c.f", "a.b.d.f", "a.e.f"},
		"{a,b}.{c,d}":     {"a.c", "a.d", "b.c", "b.d"},
	} {
		if got := expand(in); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

func TestCheckNamesEveryOtherField(t *testing.T) {
	m := &networking.VirtualService{
		Hosts: []string{"a"},
		Http: []*networking.HTTPRoute{{Name: "n"}, {
			Timeout: durationpb.New(time.Second),
			Match: []*networking.HTTPMatchRequest{{Headers: map[string]*networking.StringMatch{
				"x": {MatchType: &networking.StringMatch_Exact{Exact: "1"}}, "y": {MatchType: &networking.StringMatch_Prefix{Prefix: "1"}}}}},
			Retries: &networking.HTTPRetry{},
		}},
	}
	log := &report.Log{}
	New("hosts", "http.{name,match.headers.exact}").Check(m, "spec", log)
	var got []string
	for _, i := range log.Issues {
		got = append(got, i.Path)
	}
	if want := []string{"spec.http[1].match[0].headers[y].prefix", "spec.http[1].timeout", "spec.http[1].retries"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

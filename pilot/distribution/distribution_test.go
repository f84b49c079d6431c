package distribution

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/report"
)

func ref(name string) report.Ref {
	return report.Ref{Group: "networking.istio.io", Kind: "VirtualService", Namespace: "shop", Name: name}
}

func entry(name string, generation int64) *report.Entry {
	return report.NewEntry(ref(name), generation, false, nil)
}

func mesh(entries ...*report.Entry) report.Report { return report.Report{Entries: entries} }

// fleet is the proxies of a replica.
type fleet []discovery.Progress

func (f *fleet) progress() []discovery.Progress { return *f }

func at(name string, reached uint64, refusals ...discovery.Refusal) discovery.Progress {
	return discovery.Progress{Proxy: name + ".shop", Namespace: "shop", Reached: reached, Refusals: refusals}
}

func refuses(after, upTo uint64, why string) discovery.Refusal {
	return discovery.Refusal{Type: "Cluster", Error: why, After: after, UpTo: upTo}
}

// of describes an entry's count: "2/3", or "2/3 api.shop: Cluster: bad".
func of(s *Sum, e *report.Entry) string {
	a, known := s.Of(e)
	if !known {
		return "unknown"
	}
	text := fmt.Sprintf("%d/%d", a.Acked, a.Proxies)
	for _, r := range a.Refused {
		text += " " + r.Proxy + ": " + r.Reason
	}
	return text
}

func TestCountsByTheVersionThatBroughtTheGeneration(t *testing.T) {
	f := &fleet{at("web", 3), at("api", 5, refuses(3, 4, "bad")), at("old", 0)}
	tr := NewTracker(f.progress)
	tr.Observe(1, mesh(entry("a", 1), report.NewEntry(report.Ref{Kind: "Service", Name: "s"}, 0, false, nil)))
	tr.Observe(2, mesh(entry("a", 1), entry("b", 1)))
	tr.Observe(4, mesh(entry("a", 2), entry("b", 1)))
	tr.Observe(5, mesh(entry("a", 2), entry("b", 1)))
	s := tr.Sum(nil)
	for _, c := range []struct {
		e    *report.Entry
		want string
	}{
		{entry("b", 1), "2/3"}, {entry("a", 2), "0/3 api.shop: Cluster: bad"}, {entry("a", 1), "unknown"}, {entry("a", 3), "unknown"}, {entry("c", 1), "unknown"},
		{report.NewEntry(report.Ref{Kind: "Service", Name: "s"}, 0, false, nil), "unknown"},
	} {
		if got := of(s, c.e); got != c.want {
			t.Errorf("%s of generation %d: %s, want %s", c.e.Ref, c.e.Generation, got, c.want)
		}
	}
}

// TestAnotherObjectOfTheSameName holds that what was counted of an object says nothing of another that is given its name, here and in other replicas.
func TestAnotherObjectOfTheSameName(t *testing.T) {
	other := entry("a", 1)
	other.UID = "2"
	mine, theirs := &fleet{at("web", 1)}, &fleet{at("db", 1)}
	here, there := NewTracker(mine.progress), NewTracker(theirs.progress)
	here.Observe(1, mesh(entry("a", 1)))
	there.Observe(1, mesh(entry("a", 1)))
	here.Observe(2, mesh(other))
	want := func(when string, e *report.Entry, want string) {
		t.Helper()
		if got := of(here.Sum([]Report{there.Report()}), e); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	want("nobody has it", other, "0/2")
	want("the one that is gone", entry("a", 1), "unknown")
	*mine = fleet{at("web", 2)}
	want("the other replica has not seen it", other, "1/2")
	there.Observe(2, mesh(other))
	*theirs = fleet{at("db", 2)}
	want("all have it", other, "2/2")
}

// TestReplicas holds what is made of another replica's report: never too much.
func TestReplicas(t *testing.T) {
	for says, c := range map[string]struct {
		theirs  []report.Report // one after the other, the versions from 11
		proxies fleet
		after   time.Duration
		want    string
	}{
		"it has seen the same, long ago, and all have it": {theirs: []report.Report{mesh(entry("a", 2))}, proxies: fleet{at("db", 11)}, after: time.Hour, want: "2/2"},
		"and just now":                                   {theirs: []report.Report{mesh(entry("a", 2))}, proxies: fleet{at("db", 11)}, want: "2/2"},
		"one of its proxies has it not":                  {theirs: []report.Report{mesh(entry("a", 2))}, proxies: fleet{at("db", 11), at("slow", 10)}, want: "2/3"},
		"it has not seen it":                             {theirs: []report.Report{mesh()}, proxies: fleet{at("db", 11)}, want: "1/2"},
		"it has seen an older one":                       {theirs: []report.Report{mesh(entry("a", 1))}, proxies: fleet{at("db", 11)}, want: "1/2"},
		"it has seen an older one, long ago":             {theirs: []report.Report{mesh(entry("a", 1))}, proxies: fleet{at("db", 11)}, after: time.Hour, want: "1/2"},
		"other objects differ, and it tells of this one": {theirs: []report.Report{mesh(entry("a", 2), entry("b", 9))}, proxies: fleet{at("db", 11)}, want: "2/2"},
		"other objects differ, and it tells no more":     {theirs: []report.Report{mesh(entry("a", 2), entry("b", 9))}, proxies: fleet{at("db", 11)}, after: time.Hour, want: "1/2"},
		"a proxy of it refuses": {theirs: []report.Report{mesh(), mesh(entry("a", 2))}, proxies: fleet{at("db", 12, refuses(11, 12, "bad"))},
			want: "1/2 db.shop: Cluster: bad"},
		"a proxy of it refused something else": {theirs: []report.Report{mesh(), mesh(entry("a", 2))}, proxies: fleet{at("db", 12, refuses(0, 11, "bad"))}, want: "2/2"},
	} {
		t.Run(says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mine := &fleet{at("web", 1)}
				here, there := NewTracker(mine.progress), NewTracker(c.proxies.progress)
				here.Observe(1, mesh(entry("a", 2)))
				for i, r := range c.theirs {
					there.Observe(uint64(11+i), r)
				}
				time.Sleep(c.after)
				text, err := json.Marshal(there.Report())
				if err != nil {
					t.Fatal(err)
				}
				var r Report
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatal(err)
				}
				if got := of(here.Sum([]Report{r}), entry("a", 2)); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}

func TestAReportIsBounded(t *testing.T) {
	many := mesh()
	for i := range 2 * maxObjects {
		many.Entries = append(many.Entries, entry(fmt.Sprintf("a-rather-long-name-of-an-object-%d", i), 1))
	}
	f := &fleet{}
	for i := range 50 {
		p := at(fmt.Sprint("p", i), 1, refuses(0, 1, strings.Repeat("ä", 1000)+fmt.Sprint(i)))
		for j := range 20 {
			p.Missing = append(p.Missing, wire.SecretPrefix+fmt.Sprint(i, "-", j))
		}
		*f = append(*f, p)
	}
	tr := NewTracker(f.progress)
	tr.Observe(1, many)
	text, err := json.Marshal(tr.Report())
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 100_000 {
		t.Errorf("the report has %d bytes", len(text))
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	none := &fleet{}
	here := NewTracker(none.progress)
	here.Observe(1, many)
	sum := here.Sum([]Report{r})
	for _, e := range many.Entries {
		if got := of(sum, e); !strings.HasPrefix(got, "0/50") {
			t.Fatalf("%s, which all refuse: %s", e.Ref, got)
		}
	}
}

func TestMissingSecrets(t *testing.T) {
	f := &fleet{{Proxy: "edge.shop", Namespace: "shop", Missing: []string{"kubernetes://a", "default"}}, {Proxy: "b.shop", Namespace: "shop", Missing: []string{"kubernetes://a"}}}
	s := NewTracker(f.progress).Sum([]Report{{Missing: map[string]string{"bank/c": "edge.bank"}}})
	if got := fmt.Sprint(s.Missing); got != "map[bank/c:edge.bank shop/a:b.shop]" {
		t.Errorf("missing are %s", got)
	}
}

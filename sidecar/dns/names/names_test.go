package names

import (
	"net/netip"
	"strings"
	"testing"
)

func record(address string) *Record { return &Record{V4: []netip.Addr{netip.MustParseAddr(address)}} }

func TestFind(t *testing.T) {
	table := Merge([]*Zone{
		{Name: "z.shop.svc.cluster.local", Domains: map[string]*Record{"z.shop.svc.cluster.local": record("10.0.0.1"), "z.shop": record("10.0.0.1")}},
		{Name: "*.example.com", Domains: map[string]*Record{"*.example.com": record("10.0.0.2")}},
		{Name: "*.deep.example.com", Domains: map[string]*Record{"*.deep.example.com": record("10.0.0.3")}},
		{Name: "www.example.com", Domains: map[string]*Record{"www.example.com": record("10.0.0.4")}},
		{Name: "z.shop", Domains: map[string]*Record{"z.shop": record("10.0.0.5")}},
		{Name: "a", Domains: map[string]*Record{"both": record("10.0.0.6")}},
		{Name: "b", Domains: map[string]*Record{"both": record("10.0.0.7")}},
	})
	for name, want := range map[string]string{
		"z.shop.svc.cluster.local": "10.0.0.1",
		"z.shop":                   "10.0.0.5", // an entry of this very name comes before a short form
		"both":                     "10.0.0.6", // the first by name, whatever the order of arrival
		"x.example.com":            "10.0.0.2",
		"y.x.example.com":          "10.0.0.2",
		"x.deep.example.com":       "10.0.0.3", // the longest wildcard
		"deep.example.com":         "10.0.0.2", // a wildcard does not stand for its own suffix
		"www.example.com":          "10.0.0.4",
		"example.com":              "",
		"com":                      "",
		"":                         "",
	} {
		got := ""
		if r := table.Find(name); r != nil {
			got = r.V4[0].String()
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if table.Len() != 6 {
		t.Errorf("%d names", table.Len())
	}
}

func TestSearch(t *testing.T) {
	const domain = "shop.svc.cluster.local"
	table := Merge([]*Zone{
		{Name: "one.example.com", Domains: map[string]*Record{"one.example.com": record("10.0.0.1")}},
		{Name: "web", Domains: map[string]*Record{"web": record("10.0.0.2")}},
		{Name: "web.shop.svc.cluster.local", Domains: map[string]*Record{"web.shop.svc.cluster.local": record("10.0.0.3"), "web.shop": record("10.0.0.3")}},
		{Name: "*.wild.test", Domains: map[string]*Record{"*.wild.test": record("10.0.0.4")}},
		{Name: "*.cluster.local", Domains: map[string]*Record{"*.cluster.local": record("10.0.0.5")}},
		{Name: "*.db.shop.svc.cluster.local", Domains: map[string]*Record{"*.db.shop.svc.cluster.local": record("10.0.0.6")}},
	})
	for name, want := range map[string]string{
		"one.example.com":                          "10.0.0.1",
		"one.example.com." + domain:                "10.0.0.1 one.example.com",
		"one.example.com.svc.cluster.local":        "10.0.0.5", // another domain of the path is asked for after the first
		"one.example.com." + domain + "." + domain: "10.0.0.5",
		"two.example.com." + domain:                "10.0.0.5",
		"web." + domain:                            "10.0.0.3", // a name of the table's own comes first
		"web.shop." + domain:                       "10.0.0.3 web.shop",
		"web." + domain + "." + domain:             "10.0.0.5", // within the domain it is whole
		"a.b.wild.test." + domain:                  "10.0.0.4 a.b.wild.test",
		"wild.test." + domain:                      "10.0.0.5",
		"a.db." + domain + "." + domain:            "10.0.0.5",
		domain:                                     "10.0.0.5",
		domain + "." + domain:                      "10.0.0.5",
		"example.com":                              "",
	} {
		got := ""
		if r, of := table.Search(name, domain); r != nil {
			got = strings.TrimSpace(r.V4[0].String() + " " + of)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { table.Search("a.b.wild.test."+domain, domain) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNoTable(t *testing.T) {
	var table *Table
	if table.Find("a") != nil || table.Len() != 0 {
		t.Error("the nil table knows something")
	}
}

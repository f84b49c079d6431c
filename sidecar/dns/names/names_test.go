package names

import (
	"net/netip"
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

func TestNoTable(t *testing.T) {
	var table *Table
	if table.Find("a") != nil || table.Len() != 0 {
		t.Error("the nil table knows something")
	}
}

package values

import (
	"slices"
	"testing"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"web": "web.shop.svc.cluster.local", "Web": "web.shop.svc.cluster.local", "web.other": "web.other", "a.Example.com": "a.example.com",
		"*": "*", "*.a.com": "*.a.com", "10.0.0.1": "10.0.0.1", "fd00::1": "fd00::1", "": "",
	} {
		if got := Host(in, "shop", "cluster.local"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestValidHost(t *testing.T) {
	for _, ok := range []string{"a", "a-b.c_d", "10.0.0.1", "fd00::1", "a.example.com"} {
		if why := ValidHost(ok, false); why != "" {
			t.Errorf("%q: %s", ok, why)
		}
	}
	for _, bad := range []string{"", "a b", "-a", "a-", "a..b", ".a", "a.", "*", "*.a", "a/b", string(make([]byte, 300))} {
		if ValidHost(bad, false) == "" {
			t.Errorf("%q passed", bad)
		}
	}
	for host, ok := range map[string]bool{"*": true, "*.a": true, "*a": true, "*-a": true, "*-a.b": true, "*a.b": true, "a.*": false, "a*": false, "*.": false, "*-": false, "*--a": false, "*.-a": false, "*..a": false, "**.a": false, "*a-.b": false} {
		if (ValidHost(host, true) == "") != ok {
			t.Errorf("%q as a wildcard: %v", host, !ok)
		}
	}
}

func TestServerName(t *testing.T) {
	for host, ok := range map[string]bool{"*": true, "*.a.b": true, "a.b": true, "*-a.b": false, "*a.b": false, "*..b": false} {
		if (ServerName(host) == "") != ok {
			t.Errorf("%q: %v", host, !ok)
		}
	}
}

func TestExport(t *testing.T) {
	mesh := model.Visibility{Namespaces: []string{"."}}
	for _, c := range []struct {
		list []string
		want model.Visibility
		bad  bool
	}{
		{list: nil, want: model.Visibility{Namespaces: []string{"shop"}}},
		{list: []string{"*"}, want: model.Visibility{Public: true}},
		{list: []string{".", "*"}, want: model.Visibility{Public: true}},
		{list: []string{"~"}},
		{list: []string{"z", ".", "a", "shop"}, want: model.Visibility{Namespaces: []string{"a", "shop", "z"}}},
		{list: []string{"~", "a"}, want: model.Visibility{Namespaces: []string{"a"}}, bad: true},
		{list: []string{"a/b"}, bad: true},
	} {
		log := &report.Log{}
		got := Export(log, "p", c.list, "shop", mesh)
		if got.Public != c.want.Public || !slices.Equal(got.Namespaces, c.want.Namespaces) || log.Failed() != c.bad {
			t.Errorf("%v: %v, errors %v", c.list, got, log.Issues)
		}
	}
	if !slices.Equal(mesh.Namespaces, []string{"."}) {
		t.Error("the mesh's default was changed")
	}
}

func TestCIDR(t *testing.T) {
	for in, want := range map[string]string{"10.0.0.1": "10.0.0.1/32", "10.1.2.3/16": "10.1.0.0/16", "fd00::1": "fd00::1/128", "fd00::/8": "fd00::/8", "ten": "", "10.0.0.1/33": "", "": ""} {
		if got, ok := CIDR(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v", in, got, ok)
		}
	}
}

// TestFullRegex: what is accepted compiles in the proxy, which puts anchors around it.
func TestFullRegex(t *testing.T) {
	for expr, ok := range map[string]bool{"a|b": true, "(?i)a": true, `\Qa\E`: true, `\Qabc`: false, "a)|(b": false, "": false, "(": false} {
		log := &report.Log{}
		FullRegex(log, "p", expr)
		if log.Failed() == ok {
			t.Errorf("%q: %v", expr, log.Issues)
		}
	}
}

package compile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/heddle-mesh/heddle/api/wire"
)

func dnsTable(name string, addresses ...string) *dnsv3.DnsTable {
	return &dnsv3.DnsTable{VirtualDomains: []*dnsv3.DnsTable_DnsVirtualDomain{{
		Name: name, AnswerTtl: durationpb.New(30 * time.Second),
		Endpoint: &dnsv3.DnsTable_DnsEndpoint{EndpointConfig: &dnsv3.DnsTable_DnsEndpoint_AddressList{AddressList: &dnsv3.DnsTable_AddressList{Address: addresses}}},
	}}}
}

// named is a table as a resource.
func named(t *testing.T, name string, m *dnsv3.DnsTable) wire.Resource {
	r := resource(t, m)
	r.Name = name
	return r
}

func TestNames(t *testing.T) {
	c := newCompiler()
	put := func(rs ...wire.Resource) map[string]error { return c.Apply(wire.TypeNames, rs, nil) }
	if c.Config().Names != nil {
		t.Error("names before there are any")
	}
	put()
	none := c.Config().Names
	if none == nil || none.Len() != 0 {
		t.Error("that there are none is not told")
	}
	if put(); c.Config().Names != none {
		t.Error("the same names are not the same table")
	}
	if refused := put(named(t, "web.shop", dnsTable("Web.Shop.", "10.0.0.1", "fd00::1", "::ffff:10.0.0.2")), named(t, "*.wild", dnsTable("*.wild", "10.0.0.3"))); len(refused) > 0 {
		t.Fatal(refused)
	}
	first := c.Config()
	r := first.Names.Find("web.shop")
	if r == nil || len(r.V4) != 2 || len(r.V6) != 1 || r.TTL != 30*time.Second || first.Names.Find("a.wild") == nil {
		t.Fatalf("%+v", r)
	}
	if put(named(t, "web.shop", dnsTable("Web.Shop.", "10.0.0.1", "fd00::1", "::ffff:10.0.0.2"))); c.Config() != first {
		t.Error("equal names make another configuration")
	}
	if refused := put(named(t, "web.shop", dnsTable("web.shop", "nowhere"))); !strings.Contains(refused["web.shop"].Error(), "virtual_domains[0].endpoint.address_list.address[0]") ||
		c.Config().Names.Find("web.shop") == nil {
		t.Errorf("the last good version is gone: %v", refused)
	}
	c.Apply(wire.TypeNames, nil, []string{"web.shop"})
	if next := c.Config(); next.Names.Find("web.shop") != nil || next.Names.Find("a.wild") == nil || next.Version == first.Version {
		t.Error("what was removed is still known, or more is gone")
	}
	dumped, err := c.Dump("DnsTable")
	if err != nil || len(dumped) != 1 || dumped[0].Name != "*.wild" || dumped[0].State != StateActive {
		t.Errorf("%+v, %v", dumped, err)
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	long := strings.Repeat("a.", 127) + "a"
	for want, m := range map[string]*dnsv3.DnsTable{
		"virtual_domains[0].name":        dnsTable("", "10.0.0.1"),
		"virtual_domains[0].name: \"*a":  dnsTable("*a.b", "10.0.0.1"),
		"virtual_domains[0].name: \"a.*": dnsTable("a.*", "10.0.0.1"),
		"virtual_domains[0].name: \"a.a": dnsTable(long, "10.0.0.1"),
		"address[1]":                     dnsTable("a", "10.0.0.1", "fe80::1%eth0"),
		"external_retry_count":           {ExternalRetryCount: 3},
		"virtual_domains[0].endpoint": {VirtualDomains: []*dnsv3.DnsTable_DnsVirtualDomain{{Name: "a", Endpoint: &dnsv3.DnsTable_DnsEndpoint{
			EndpointConfig: &dnsv3.DnsTable_DnsEndpoint_ClusterName{ClusterName: "c"}}}}},
		"virtual_domains[0].answer_ttl": {VirtualDomains: []*dnsv3.DnsTable_DnsVirtualDomain{{Name: "a", AnswerTtl: durationpb.New(-time.Second)}}},
	} {
		err := newCompiler().Apply(wire.TypeNames, []wire.Resource{named(t, "x", m)}, nil)["x"]
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestNameTable: the names of Istio's control plane, which come in one message, are answered as its agent would.
func TestNameTable(t *testing.T) {
	field := func(number protowire.Number, value string) string {
		return string(protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value))
	}
	host := func(name, shortname, namespace string, ips ...string) string {
		text := field(2, "Kubernetes") + field(3, shortname) + field(4, namespace)
		for _, ip := range ips {
			text += field(1, ip)
		}
		return field(1, field(1, name)+field(2, text))
	}
	c := newCompiler()
	c.options.Foreign, c.options.Namespace = true, "shop"
	put := func(body string) map[string]error {
		return c.Apply(wire.TypeNameTable, []wire.Resource{{Type: wire.TypeNameTable, Body: []byte(body)}}, nil)
	}
	if refused := put(host("catalog.shop.svc.cluster.local", "catalog", "shop", "10.96.0.10") + host("web.other.svc.cluster.local", "web", "other", "10.96.0.11", "fd00::1") +
		host("outside.example", "", "", "203.0.113.7") + host("*.wild.example", "", "", "203.0.113.8")); len(refused) > 0 {
		t.Fatal(refused)
	}
	table := c.Config().Names
	for name, want := range map[string]string{
		"catalog.shop.svc.cluster.local": "10.96.0.10", "catalog.shop": "10.96.0.10", "catalog.shop.svc": "10.96.0.10", "catalog": "10.96.0.10", "web.other": "10.96.0.11",
		"web": "", "outside.example": "203.0.113.7", "a.wild.example": "203.0.113.8", "elsewhere.example": "",
	} {
		got := ""
		if r := table.Find(name); r != nil {
			got = r.V4[0].String()
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if refused := put("\x0a\x7f"); len(refused) != 1 || c.Config().Names != table {
		t.Errorf("half a message: %v", refused)
	}
	odd := host("catalog.shop.svc.cluster.local", "catalog", "shop", "nowhere", "10.96.0.10") + host("web.shop.svc.cluster.local", "web", "shop", "fe80::1%eth0") +
		host("a.*.example", "", "", "203.0.113.7") + host("api.shop.svc.cluster.local", "api", "shop", "10.96.0.12") + host("API.shop.", "", "", "203.0.113.9")
	for range 2 { // the same again is not counted
		if refused := put(odd); len(refused) > 0 || c.Ignored() != 3 {
			t.Errorf("refused: %v, ignored: %d", refused, c.Ignored())
		}
	}
	table = c.Config().Names
	for name, want := range map[string]string{"catalog": "10.96.0.10", "web": "", "api": "10.96.0.12", "api.shop.svc": "10.96.0.12", "api.shop": "203.0.113.9"} {
		got := ""
		if r := table.Find(name); r != nil {
			got = fmt.Sprint(r.V4)
		}
		if want != "" && got != "["+want+"]" || want == "" && got != "" {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

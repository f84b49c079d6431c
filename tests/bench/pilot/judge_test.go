package main

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/pilot/model/dump"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

func TestRows(t *testing.T) {
	groups, err := parseRows("1000x1000,services,10x2")
	if err != nil || len(groups) != 2 || groups[0].name != "services" || len(groups[1].sizes) != 2 || groups[1].sizes[1] != (size{10, 2}) {
		t.Errorf("got %+v, %v", groups, err)
	}
	for _, wrong := range []string{"", "10", "10x", "0x5", "5x-1", "servces"} {
		if _, err := parseRows(wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
}

// at is a row whose figures are all a part of istiod's.
func at(s size, part float64) row {
	f := recorded()[s]
	f.connect, f.endpoints, f.service, f.virtual, f.cpu = scaled(f.connect, part), scaled(f.endpoints, part), scaled(f.service, part), scaled(f.virtual, part), scaled(f.cpu, part)
	f.cold, f.serviceBytes, f.virtualBytes, f.memory = scaled(f.cold, part), scaled(f.serviceBytes, part), scaled(f.virtualBytes, part), scaled(f.memory, part)
	return row{size: s, figures: f}
}

func scaled[T ~int64](v T, part float64) T { return T(float64(v) * part) }

// named is one of the audiences.
func named(t *testing.T, name string) audience {
	t.Helper()
	found, err := parseAudiences(name)
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}

func texts(t table) string {
	var out strings.Builder
	t.print(&out)
	return out.String()
}

func TestMusts(t *testing.T) {
	for _, c := range []struct {
		clients   string
		size      size
		part      float64
		hold, all int
	}{
		{"envoy", judged(), 0.19, 9, 9},
		{"envoy", judged(), 0.25, 4, 9},
		{"envoy", judged(), 0.4, 3, 9},
		{"envoy", judged(), 0.6, 0, 9},
		{"ondemand", judged(), 0.09, 4, 4},
		{"ondemand", judged(), 0.11, 0, 4},
		{"scoped", judged(), 2, 0, 0},
		{"envoy", size{1000, 400}, 2, 0, 0},
	} {
		var v verdict
		out := texts(tableOf(group{name: "g"}, named(t, c.clients), 20, []row{at(c.size, c.part)}, &v))
		if v.hold != c.hold || v.all != c.all || strings.Count(out, "!") != c.all-c.hold {
			t.Errorf("%s at %s, %.2fx of istiod: %d of %d hold, want %d of %d\n%s", c.clients, c.size, c.part, v.hold, v.all, c.hold, c.all, out)
		}
	}
}

func TestMustsOfARowThatFailed(t *testing.T) {
	var v verdict
	failed := row{size: judged(), err: errors.New("out of memory")}
	out := texts(tableOf(group{name: "g"}, named(t, "envoy"), 20, []row{failed}, &v))
	if v.hold != 0 || v.all != 9 || !strings.Contains(out, "1000x1000 was not measured: out of memory") {
		t.Errorf("%d of %d hold\n%s", v.hold, v.all, out)
	}
}

func TestAudiences(t *testing.T) {
	if all, err := parseAudiences("envoy,ondemand"); err != nil || len(all) != 2 || all[0].ours || !all[1].onDemand {
		t.Errorf("got %+v, %v", all, err)
	}
	for _, wrong := range []string{"", "envoy,", "istio"} {
		if _, err := parseAudiences(wrong); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
}

// TestUsed holds that each client on demand uses as many services as it is said to, those that change among them.
func TestUsed(t *testing.T) {
	m := mesh{size: size{50, 200}, namespaces: 10, few: 20, audience: named(t, "ondemand"), before: 48}
	for j := range m.proxies {
		seen := map[int]bool{}
		for _, i := range m.used(j) {
			if i < 0 || i >= m.services {
				t.Fatalf("client %d uses service %d", j, i)
			}
			seen[i] = true
		}
		if len(seen) != m.told() || !seen[48] || !seen[49] || !seen[0] {
			t.Fatalf("client %d uses %v", j, m.used(j))
		}
	}
}

func TestGrowth(t *testing.T) {
	g := known()["services"]
	grown := func(e float64) []row {
		var out []row
		for _, s := range g.sizes {
			n := int64(math.Pow(float64(s.services), e) * 1000)
			f := figures{cold: n, serviceBytes: n, virtualBytes: n, memory: n}
			f.connect, f.endpoints, f.service, f.virtual, f.cpu = second, second, second, second, second
			out = append(out, row{size: s, figures: f})
		}
		return out
	}
	for e, hold := range map[float64]int{0: 9, 1: 9, 1.05: 9, 1.3: 5, 2: 5} {
		var v verdict
		out := texts(tableOf(g, named(t, "scoped"), 20, grown(e), &v))
		if v.hold != hold || v.all != 9 {
			t.Errorf("n^%.2f: %d of %d hold, want %d\n%s", e, v.hold, v.all, hold, out)
		}
	}
}

// TestCore holds that the mesh which translation is measured with is understood whole, and that each change changes what it says.
func TestCore(t *testing.T) {
	in, err := source.FromYAML([]byte(coreMesh(40, 20)))
	if err != nil || len(in.Services) != 40 || len(in.VirtualServices) != 20 || len(in.DestinationRules) != 20 {
		t.Fatalf("%d services, %d routes, %d rules, %v", len(in.Services), len(in.VirtualServices), len(in.DestinationRules), err)
	}
	memo := translate.NewMemo()
	before, said := translate.Translate(in, memo)
	for _, e := range said.Entries {
		if e.State != report.Accepted || len(e.Issues) > 0 {
			t.Errorf("%s", e)
		}
	}
	for _, kind := range coreKinds() {
		alter(in, kind, 1)
		after, _ := translate.Translate(in, memo)
		if dump.Value(after) == dump.Value(before) {
			t.Errorf("changing a %s changes nothing", kind)
		}
		before = after
	}
	var v verdict
	out := texts(coreFigures{all: coreAll, change: [3]time.Duration{coreChange, coreChange + 1, coreChange}}.table(&v))
	if v.hold != 3 || v.all != 4 {
		t.Errorf("%d of %d hold\n%s", v.hold, v.all, out)
	}
}

func TestExponent(t *testing.T) {
	if e := exponent([]float64{1, 10, 100}, []float64{5, 50, 500}); math.Abs(e-1) > 1e-9 {
		t.Errorf("a line grows as n^%f", e)
	}
}

// TestPeer holds that a row is compared with the istiod of its own run where there was one, and that one that failed is no excuse.
func TestPeer(t *testing.T) {
	beside := func(part float64, err error) row {
		r := at(judged(), 1)
		r.peer = &peer{figures: at(judged(), 1/part).figures, err: err}
		return r
	}
	for _, c := range []struct {
		row       row
		hold      int
		says, not string
	}{
		{beside(0.19, nil), 9, "| istiod |", "!"},
		{beside(0.4, nil), 3, "(0.40x!)", "(1.00x"},
		{beside(0.1, errors.New("it fell over")), 0, "with istiod: it fell over", "x)"},
	} {
		var v verdict
		out := texts(tableOf(group{name: "g"}, named(t, "envoy"), 20, []row{c.row}, &v))
		if v.hold != c.hold || v.all != 9 || !strings.Contains(out, c.says) || strings.Contains(out, c.not) {
			t.Errorf("%d of %d hold, want %d; want %q and no %q\n%s", v.hold, v.all, c.hold, c.says, c.not, out)
		}
	}
	if p := named(t, "ondemand").peer(); p.name != "envoy" {
		t.Errorf("istiod's clients are %s where ours are on demand", p.name)
	}
	if p := named(t, "scoped").peer(); p.name != "scoped" {
		t.Errorf("istiod's clients are %s where others are scoped", p.name)
	}
}

// TestMiddle holds that figures of several turns are medians, each by itself.
func TestMiddle(t *testing.T) {
	all := []figures{{connect: 3, cold: 10, memory: 5}, {connect: 1, cold: 30, memory: 5}, {connect: 2, cold: 20, memory: 1}}
	if m := middle(all); m.connect != 2 || m.cold != 20 || m.memory != 5 {
		t.Errorf("got %+v", m)
	}
	if m := middle(nil); m != (figures{}) {
		t.Errorf("of nothing: %+v", m)
	}
}

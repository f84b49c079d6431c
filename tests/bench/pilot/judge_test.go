package main

import (
	"errors"
	"math"
	"strings"
	"testing"
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

func TestMusts(t *testing.T) {
	big := size{1000, 1000}
	for part, hold := range map[float64]int{0.19: 9, 0.25: 4, 0.4: 3, 0.6: 0} {
		var v verdict
		var out strings.Builder
		if err := table(&out, group{name: "g"}, []row{at(big, part)}, true, &v); err != nil {
			t.Fatal(err)
		}
		if v.hold != hold || v.all != 9 || strings.Count(out.String(), "!") != 9-hold {
			t.Errorf("%.2fx of istiod: %d of %d hold, want %d\n%s", part, v.hold, v.all, hold, out.String())
		}
	}
}

func TestMustsOfARowThatFailed(t *testing.T) {
	var v verdict
	var out strings.Builder
	failed := row{size: size{500, 100}, err: errors.New("out of memory")}
	if err := table(&out, group{name: "g"}, []row{failed}, true, &v); err != nil {
		t.Fatal(err)
	}
	if v.hold != 0 || v.all != 7 || !strings.Contains(out.String(), "500x100 was not measured: out of memory") {
		t.Errorf("%d of %d hold\n%s", v.hold, v.all, out.String())
	}
}

func TestMustsAreOfClientsThatSubscribeToEverything(t *testing.T) {
	var v verdict
	if err := table(&strings.Builder{}, group{name: "g"}, []row{at(size{1000, 1000}, 1)}, false, &v); err != nil || v.all != 0 {
		t.Errorf("%d are judged, %v", v.all, err)
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
		var out strings.Builder
		if err := table(&out, g, grown(e), true, &v); err != nil {
			t.Fatal(err)
		}
		if v.hold != hold || v.all != 9 {
			t.Errorf("n^%.2f: %d of %d hold, want %d\n%s", e, v.hold, v.all, hold, out.String())
		}
	}
}

func TestExponent(t *testing.T) {
	if e := exponent([]float64{1, 10, 100}, []float64{5, 50, 500}); math.Abs(e-1) > 1e-9 {
		t.Errorf("a line grows as n^%f", e)
	}
}

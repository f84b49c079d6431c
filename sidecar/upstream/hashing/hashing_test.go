package hashing

import (
	"fmt"
	"slices"
	"testing"
)

// six are members whose ring and table Envoy's own tests print.
func six() (members []Member) {
	for port := 90; port <= 95; port++ {
		members = append(members, Member{fmt.Sprintf("127.0.0.1:%d", port), 1.0 / 6})
	}
	return members
}

// TestRingIsEnvoys: the places on the ring are those of Envoy (source: the ring printed in its ring_hash_lb_test.cc), so that proxies of both kinds
// send a request to the same endpoint.
func TestRingIsEnvoys(t *testing.T) {
	members := six()
	table := Ring(Sizes{Size: 12}, members)
	want := []struct {
		point uint64
		port  int
	}{
		{833437586790550860, 94}, {928266305478181108, 92}, {1033482794131418490, 90}, {3551244743356806947, 95}, {3851675632748031481, 93},
		{5583722120771150861, 91}, {6311230543546372928, 91}, {7700377290971790572, 93}, {13144177310400110813, 95},
		{13444792449719432967, 92}, {15516499411664133160, 94}, {16117243373044804889, 90},
	}
	if len(table.points) != len(want) {
		t.Fatalf("%d places, want %d", len(table.points), len(want))
	}
	for i, w := range want {
		key := fmt.Sprintf("127.0.0.1:%d", w.port)
		if got := members[table.owners[i]].Key; table.points[i] != w.point || got != key {
			t.Errorf("place %d: %d %s, want %d %s", i, table.points[i], got, w.point, key)
		}
	}
	for hash, port := range map[uint64]int{0: 94, 1<<64 - 1: 94, 3551244743356806947: 95, 3551244743356806948: 93} {
		if got := members[table.At(hash, 0)].Key; got != fmt.Sprintf("127.0.0.1:%d", port) {
			t.Errorf("hash %d leads to %s, want :%d", hash, got, port)
		}
	}
	if got := members[table.At(3551244743356806947, 1)].Key; got != "127.0.0.1:93" {
		t.Errorf("a second attempt leads to %s, want the next place's", got)
	}
}

// TestMaglevIsEnvoys: the same for the table printed in its maglev_lb_test.cc, in whatever order members are listed.
func TestMaglevIsEnvoys(t *testing.T) {
	members := six()
	slices.Reverse(members)
	table := Maglev(Sizes{Size: 7}, members)
	for i, port := range []int{92, 94, 90, 91, 95, 90, 93} {
		if got := members[table.At(uint64(i), 0)].Key; got != fmt.Sprintf("127.0.0.1:%d", port) {
			t.Errorf("place %d: %s, want :%d", i, got, port)
		}
	}
}

// TestRingPlaces holds what a ring weighs before it is made: enough places for the lightest member, and never more than may be.
func TestRingPlaces(t *testing.T) {
	for _, c := range []struct {
		sizes Sizes
		least float64
		want  int
	}{{Sizes{Size: 12}, 1.0 / 6, 12}, {Sizes{Size: 10}, 0.25, 12}, {Sizes{Size: 1024, Most: 100}, 0.5, 100}, {Sizes{Size: 1 << 30}, 1, MaxRing}} {
		if got := c.sizes.RingPlaces(c.least); got != c.want {
			t.Errorf("%+v with a member of %v: %d places, want %d", c.sizes, c.least, got, c.want)
		}
	}
}

// crew is n members with weights from 1 to 4.
func crew(n int) (out []Member) {
	total := 0.0
	for i := range n {
		out = append(out, Member{fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255), float64(i%4 + 1)})
		total += out[i].Part
	}
	for i := range out {
		out[i].Part /= total
	}
	return out
}

func BenchmarkTable(b *testing.B) {
	for name, build := range map[string]func([]Member) *Table{
		"ring":   func(ms []Member) *Table { return Ring(Sizes{Size: 1024}, ms) },
		"maglev": func(ms []Member) *Table { return Maglev(Sizes{Size: 65_537}, ms) },
	} {
		for _, n := range []int{10, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				all := crew(n)
				for b.Loop() {
					build(all)
				}
			})
		}
	}
}

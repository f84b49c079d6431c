package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// TestTablesOfEqualContentAreOne edits tables at random, beside maps: what they say is what the maps say, and whatever says the same is the same.
func TestTablesOfEqualContentAreOne(t *testing.T) {
	for _, few := range []int{0, 1, fewEntries} {
		t.Run(fmt.Sprintf("of more than %d", few), func(t *testing.T) { editTables(t, few) })
	}
}

func editTables(t *testing.T, few int) {
	all, dice := newTables(), rand.New(rand.NewPCG(3, 5))
	all.few = few
	type pair struct {
		table *table
		plain map[string]string
	}
	var seen []pair
	now := pair{all.empty(), map[string]string{}}
	for step := range 2000 {
		next := pair{nil, maps.Clone(now.plain)}
		var set []text
		var drop []string
		for _, n := range dice.Perm(6)[:1+dice.IntN(3)] {
			name := fmt.Sprint(n)
			if dice.IntN(3) == 0 {
				drop = append(drop, name)
				delete(next.plain, name)
				continue
			}
			e := text{name, fmt.Sprint(dice.IntN(3))}
			set, next.plain[name] = append(set, e), e.text
		}
		before := maps.Collect(now.table.all())
		next.table = now.table.with(set, drop)
		if !maps.Equal(maps.Collect(now.table.all()), before) {
			t.Fatalf("step %d: %v became %v", step, before, maps.Collect(now.table.all()))
		}
		if got := maps.Collect(next.table.all()); !maps.Equal(got, next.plain) || next.table.size != len(got) {
			t.Fatalf("step %d: %v with %v and without %v is %v, of size %d", step, before, set, drop, got, next.table.size)
		}
		for name := range 7 {
			want, has := next.plain[fmt.Sprint(name)]
			if got, had := next.table.get(fmt.Sprint(name)); got != want || had != has || next.table.has(fmt.Sprint(name)) != has {
				t.Fatalf("step %d: %d of %v is %q, %t", step, name, next.plain, got, had)
			}
		}
		for _, s := range seen {
			if few > 0 {
				break
			}
			if maps.Equal(s.plain, next.plain) != (s.table.leaves == next.table.leaves) {
				t.Fatalf("step %d: %v and %v: the same leaves: %t", step, s.plain, next.plain, s.table.leaves == next.table.leaves)
			}
		}
		if seen = append(seen, next); len(seen) > 50 {
			seen = seen[1:]
		}
		now = next
	}
}

// TestTablesThatNobodyHasAreForgotten holds that what proxies held once costs nothing for ever.
func TestTablesThatNobodyHasAreForgotten(t *testing.T) {
	all := newTables()
	all.few = 0
	kept := all.empty().with([]text{{"a", "1"}}, nil)
	for i := range 100 {
		_ = kept.with([]text{{"b", fmt.Sprint(i)}}, nil)
	}
	count := func() int {
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.known)
	}
	for deadline := time.Now().Add(30 * time.Second); count() > 1 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		runtime.GC()
	}
	if n := count(); n != 1 || all.empty().with([]text{{"a", "1"}}, nil).leaves != kept.leaves {
		t.Errorf("%d leaves are known", n)
	}
	runtime.KeepAlive(kept)
}

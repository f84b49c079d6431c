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
	all, dice := newTables(), rand.New(rand.NewPCG(3, 5))
	type pair struct {
		table *table
		plain map[string]string
	}
	var seen []pair
	now := pair{all.empty(), map[string]string{}}
	for step := range 2000 {
		set, drop := map[string]string{}, []string(nil)
		for range 1 + dice.IntN(3) {
			set[fmt.Sprint(dice.IntN(6))] = fmt.Sprint(dice.IntN(3))
		}
		if name := fmt.Sprint(dice.IntN(6)); dice.IntN(2) == 0 {
			delete(set, name)
			drop = append(drop, name)
		}
		before := maps.Clone(now.table.entries)
		next := pair{now.table.with(set, drop), maps.Clone(now.plain)}
		maps.Copy(next.plain, set)
		for _, name := range drop {
			delete(next.plain, name)
		}
		if !maps.Equal(now.table.entries, before) || !maps.Equal(next.table.entries, next.plain) {
			t.Fatalf("step %d: %v with %v and without %v is %v", step, before, set, drop, next.table.entries)
		}
		for _, s := range seen {
			if maps.Equal(s.plain, next.plain) != (s.table == next.table) && len(next.plain) > 0 {
				t.Fatalf("step %d: %v and %v: the same table: %t", step, s.plain, next.plain, s.table == next.table)
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
	kept := all.empty().with(map[string]string{"a": "1"}, nil)
	for i := range 100 {
		_ = kept.with(map[string]string{"b": fmt.Sprint(i)}, nil)
	}
	count := func() int {
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.known)
	}
	for deadline := time.Now().Add(30 * time.Second); count() > 1 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		runtime.GC()
	}
	if n := count(); n != 1 || all.empty().with(map[string]string{"a": "1"}, nil) != kept {
		t.Errorf("%d tables are known", n)
	}
	runtime.KeepAlive(kept)
}

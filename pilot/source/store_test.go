package source

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

// TestListsKeepTheirPlaces sets and drops objects at random: a list holds what is there, is never changed once it was handed over, and one change
// leaves all others where they were, but for one.
func TestListsKeepTheirPlaces(t *testing.T) {
	s, dice := newStore[*corev1.Namespace](), rand.New(rand.NewPCG(1, 9))
	there := map[string]*corev1.Namespace{}
	last := s.all()
	for step := range 1000 {
		before := slices.Clone(last)
		name := fmt.Sprint(dice.IntN(20))
		if dice.IntN(2) == 0 {
			if _, known := there[name]; s.drop(toolscache.ObjectName{Name: name}) != known {
				t.Fatalf("step %d: dropping %s: it was known: %t", step, name, known)
			}
			delete(there, name)
		} else {
			o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"step": fmt.Sprint(step)}}}
			if there[name] = o; !s.set(o) || s.set(o.DeepCopy()) {
				t.Fatalf("step %d: setting %s, once or twice, is not told right", step, name)
			}
		}
		next := s.all()
		if !slices.Equal(last, before) {
			t.Fatalf("step %d: a list was changed after it was handed over", step)
		}
		if want := slices.Collect(maps.Values(there)); len(next) != len(want) || slices.ContainsFunc(want, func(o *corev1.Namespace) bool { return !slices.Contains(next, o) }) {
			t.Fatalf("step %d: %d listed, %d are there", step, len(next), len(want))
		}
		moved := 0
		for i, o := range next {
			if i >= len(last) || last[i] != o {
				moved++
			}
		}
		if moved > 1 {
			t.Fatalf("step %d: %d places have others", step, moved)
		}
		last = next
	}
}

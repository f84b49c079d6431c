package previous

import "testing"

func TestExcluded(t *testing.T) {
	const a, b, c = 1, 2, 4
	for name, d := range map[string]struct {
		every int
		tried []uint64
		want  uint64
	}{
		"nothing was tried":          {2, nil, 0},
		"not yet":                    {2, []uint64{a}, 0},
		"now":                        {2, []uint64{a, a}, a},
		"both":                       {2, []uint64{a, b}, a | b},
		"as before":                  {2, []uint64{a, a, b}, a},
		"further":                    {2, []uint64{a, a, b, b}, a | b},
		"each time":                  {1, []uint64{a, b}, a | b},
		"nothing is left":            {1, []uint64{a, b, c}, 0},
		"nothing was left before":    {1, []uint64{a, b, c, a}, a},
		"counted from there":         {2, []uint64{a, b, c, c, a}, 0},
		"counted from there, enough": {2, []uint64{a, b, c, c, a, a}, a},
		"what is gone is no reason":  {1, []uint64{0}, 0},
	} {
		if got := Excluded(d.tried, d.every, a|b|c); got != d.want {
			t.Errorf("%s: %b, want %b", name, got, d.want)
		}
	}
}

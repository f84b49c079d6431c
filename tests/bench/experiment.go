package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// experiment measures contenders in turns.
type experiment struct {
	name, title string
	measures    []measure
	contenders  []contender // Heddle first
	times       int         // as many rounds as others have, where what is measured is rare and few tell little; 0 is 1
}

// measure is one of the figures that a turn yields.
type measure struct {
	name   string // with its unit
	digits int
	limits []limit
}

// limit is what Heddle has to keep to.
type limit struct {
	peer      string // the ratio to this contender's figure; "": the figure itself
	must, aim float64
	atLeast   bool
}

// best stands for the peer with the lowest figure.
const best = "the better"

// contender is what can be measured.
type contender struct {
	name  string
	start func(ctx context.Context) (subject, error)
}

// subject is a contender that runs.
type subject struct {
	turn func(ctx context.Context) ([]float64, error) // a figure for each measure
	stop func()
}

// result is what an experiment showed.
type result struct {
	experiment
	figures [][][]float64 // by contender, by measure, by round
	errs    []error       // by contender: why it was not measured
}

// run measures each contender once in each round.
func (e experiment) run(ctx context.Context, rounds int) result {
	rounds *= max(e.times, 1)
	r := result{e, make([][][]float64, len(e.contenders)), make([]error, len(e.contenders))}
	subjects, began := make([]subject, len(e.contenders)), time.Now()
	for i, c := range e.contenders {
		r.figures[i] = make([][]float64, len(e.measures))
		if subjects[i], r.errs[i] = c.start(ctx); r.errs[i] == nil {
			defer subjects[i].stop()
		}
	}
	for range rounds {
		for i := range e.contenders {
			if r.errs[i] == nil && ctx.Err() == nil {
				r.errs[i] = r.add(ctx, i, subjects[i])
			}
		}
	}
	for i, err := range r.errs {
		if err == nil && len(r.figures[i][0]) < rounds {
			r.errs[i] = context.Cause(ctx)
		}
	}
	fmt.Printf("%s: %d rounds of %d contenders took %v\n", e.name, rounds, len(e.contenders), time.Since(began).Round(time.Second))
	return r
}

func (r *result) add(ctx context.Context, i int, s subject) error {
	figures, err := s.turn(ctx)
	if err != nil {
		return err
	}
	if len(figures) != len(r.measures) {
		return fmt.Errorf("%d figures for %d measures", len(figures), len(r.measures))
	}
	for m, v := range figures {
		r.figures[i][m] = append(r.figures[i][m], v)
	}
	return nil
}

// verdict is how Heddle keeps to a limit.
type verdict struct {
	limit
	ratio float64
	err   error // why it is unknown
}

func (v verdict) holds() bool {
	switch {
	case v.err != nil:
		return false
	case v.atLeast:
		return v.ratio >= v.must
	}
	return v.ratio <= v.must
}

// judge compares Heddle, which is the first contender, with what a limit says.
func (r *result) judge(m int, l limit) verdict {
	v := verdict{limit: l}
	if v.err = r.errs[0]; v.err != nil {
		v.err = fmt.Errorf("%s: %w", r.contenders[0].name, v.err)
		return v
	}
	switch l.peer {
	case "":
		v.ratio = slices.Max(r.figures[0][m]) // of what must not happen, no round is excused
	case best:
		for i := 1; i < len(r.contenders); i++ {
			ratio, err := r.ratio(m, i)
			if err != nil {
				v.err = err
				return v
			}
			v.ratio = max(v.ratio, ratio)
		}
	default:
		i := slices.IndexFunc(r.contenders, func(c contender) bool { return c.name == l.peer })
		v.ratio, v.err = r.ratio(m, i)
	}
	return v
}

// ratio is the median of Heddle's figures as multiples of another's in the same round.
func (r *result) ratio(m, i int) (float64, error) {
	if i < 0 {
		return 0, fmt.Errorf("there is no such contender")
	}
	if err := r.errs[i]; err != nil {
		return 0, fmt.Errorf("%s: %w", r.contenders[i].name, err)
	}
	ratios := make([]float64, len(r.figures[0][m]))
	for round := range ratios {
		if r.figures[i][m][round] == 0 {
			return 0, fmt.Errorf("%s: nothing to compare with", r.contenders[i].name)
		}
		ratios[round] = r.figures[0][m][round] / r.figures[i][m][round]
	}
	return median(ratios), nil
}

// median of an even number of values is the mean of the two in the middle.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

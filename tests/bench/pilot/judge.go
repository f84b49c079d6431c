package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"
)

const (
	second      = time.Second
	millisecond = time.Millisecond
	mb          = 1_000_000
)

// recorded is what istiod (master of 2026-08-22) showed on two cores, with a real API server and clients that subscribe to everything.
// Zero: not measured.
func recorded() map[size]figures {
	return map[size]figures{
		{500, 100}: {connect: 1800 * millisecond, cold: 195 * mb, service: 820 * millisecond, serviceBytes: 52 * mb,
			virtual: 410 * millisecond, virtualBytes: 52 * mb, memory: 553 * mb},
		{1000, 400}: {connect: 14200 * millisecond, cold: 1530 * mb, endpoints: 195 * millisecond, service: 2300 * millisecond, serviceBytes: 396 * mb,
			virtual: 2380 * millisecond, virtualBytes: 396 * mb, memory: 1450 * mb, cpu: 23 * second},
		{1000, 1000}: {connect: 53900 * millisecond, cold: 3830 * mb, endpoints: 371 * millisecond, service: 6100 * millisecond, serviceBytes: 990 * mb,
			virtual: 6050 * millisecond, virtualBytes: 990 * mb, memory: 3300 * mb, cpu: 84 * second},
	}
}

// growth is how steep a figure may grow with what grows: 1 is a line, and the rest is for the noise of single runs.
const growth = 1.1

// row is a size and what it showed.
type row struct {
	size
	figures
	err error // why it was not measured to the end
}

// verdict counts musts.
type verdict struct{ hold, all int }

func (v *verdict) must(holds bool) {
	v.all++
	if holds {
		v.hold++
	}
}

// cell shows a figure and, where istiod's is recorded, what part of that it is; an exclamation mark is a must that does not hold.
func (c column) cell(r row, judge bool, v *verdict) string {
	text := c.show(c.of(r.figures))
	if r.err != nil {
		return "-"
	}
	peer := c.of(recorded()[r.size])
	if peer == 0 {
		return text
	}
	part := c.of(r.figures) / peer
	text += fmt.Sprintf(" (%.2fx", part)
	if judge {
		v.must(part <= c.must)
		if part > c.must {
			text += "!"
		}
	}
	return text + ")"
}

// table writes one group's rows. Musts are judged where the clients are those of istiod's figures.
func table(w io.Writer, g group, rows []row, judge bool, v *verdict) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(out, g.name, "\t")
	for _, c := range columns() {
		fmt.Fprint(out, c.title, "\t")
	}
	fmt.Fprintln(out)
	for _, r := range rows {
		fmt.Fprint(out, r.size, "\t")
		for _, c := range columns() {
			fmt.Fprint(out, c.cell(r, judge, v), "\t")
		}
		fmt.Fprintln(out)
		if judge && r.err != nil { // what was not measured does not hold
			for range recordedOf(r.size) {
				v.must(false)
			}
		}
	}
	if g.grows != nil {
		fmt.Fprint(out, "grows as n^\t")
		for _, c := range columns() {
			fmt.Fprint(out, steepness(c, g, rows, v), "\t")
		}
		fmt.Fprintln(out)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if r.err != nil {
			fmt.Fprintf(w, "%s was not measured: %v\n", r.size, r.err)
		}
	}
	return nil
}

// recordedOf are the columns that istiod has a figure of.
func recordedOf(s size) []column {
	var out []column
	for _, c := range columns() {
		if c.of(recorded()[s]) != 0 {
			out = append(out, c)
		}
	}
	return out
}

// steepness is the exponent with which a figure grows, and a must: no worse than a line.
func steepness(c column, g group, rows []row, v *verdict) string {
	var xs, ys []float64
	for _, r := range rows {
		if r.err == nil && c.of(r.figures) > 0 {
			xs, ys = append(xs, float64(g.grows(r.size))), append(ys, c.of(r.figures))
		}
	}
	if len(xs) < 2 || len(xs) < len(rows) {
		v.must(false)
		return "?"
	}
	e := exponent(xs, ys)
	v.must(e <= growth)
	if e > growth {
		return fmt.Sprintf("%.2f!", e)
	}
	return fmt.Sprintf("%.2f", e)
}

// exponent is e of the curve a*x^e that fits best: the slope of a line through the logarithms.
func exponent(xs, ys []float64) float64 {
	var sx, sy, sxx, sxy float64
	for i := range xs {
		x, y := math.Log(xs[i]), math.Log(ys[i])
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(xs))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

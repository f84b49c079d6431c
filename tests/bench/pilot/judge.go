package main

import (
	"fmt"
	"math"
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
		judged(): {connect: 53900 * millisecond, cold: 3830 * mb, endpoints: 371 * millisecond, service: 6100 * millisecond, serviceBytes: 990 * mb,
			virtual: 6050 * millisecond, virtualBytes: 990 * mb, memory: 3300 * mb, cpu: 84 * second},
	}
}

// judged is the size that musts are about; those of others are for orientation.
func judged() size { return size{1000, 1000} }

// growth is how steep a figure may grow with what grows: 1 is a line, and the rest is for the noise of single runs.
const growth = 1.1

// row is a size and what it showed.
type row struct {
	size
	figures
	err  error // why it was not measured to the end
	peer *peer // istiod, in the same run; nil: there is none
}

// against is what a row is compared with: istiod's figures of this run, or else the recorded ones.
func (r row) against() figures {
	if r.peer != nil {
		return r.peer.figures
	}
	return recorded()[r.size]
}

// verdict counts musts.
type verdict struct{ hold, all int }

func (v *verdict) must(holds bool) {
	v.all++
	if holds {
		v.hold++
	}
}

// cell shows a figure and, where istiod's is known, what part of that it is; an exclamation mark is a must that does not hold.
func (c column) cell(r row, a audience, v *verdict) string {
	peer, must := c.of(r.against()), a.must(c)
	failed := r.peer != nil && r.peer.err != nil
	judging := (peer != 0 || failed) && must != 0 && r.size == judged()
	if r.err != nil {
		if judging { // what was not measured does not hold
			v.must(false)
		}
		return "-"
	}
	text := c.show(c.of(r.figures))
	if judging && failed { // there is nothing that it could be compared with
		v.must(false)
	}
	if peer == 0 || failed {
		return text
	}
	part := c.of(r.figures) / peer
	text += fmt.Sprintf(" (%.2fx", part)
	if judging {
		v.must(part <= must)
		if part > must {
			text += "!"
		}
	}
	return text + ")"
}

// tableOf shows one group's rows for one kind of clients.
func tableOf(g group, a audience, few int, rows []row, v *verdict) table {
	t := table{title: g.title + ": " + a.title(few), head: []string{"services x proxies"}}
	for _, c := range columns() {
		t.head = append(t.head, c.title)
	}
	for _, r := range rows {
		line := []string{r.size.String()}
		for _, c := range columns() {
			line = append(line, c.cell(r, a, v))
		}
		if t.rows = append(t.rows, line); r.err != nil {
			t.notes = append(t.notes, fmt.Sprintf("%s was not measured: %v", r.size, r.err))
		}
		if r.peer != nil {
			t.rows = append(t.rows, r.peer.line())
			if r.peer.err != nil {
				t.notes = append(t.notes, fmt.Sprintf("%s was not measured with istiod: %v", r.size, r.peer.err))
			}
		}
	}
	if g.grows != nil {
		line := []string{"grows as n^"}
		for _, c := range columns() {
			line = append(line, steepness(c, g, rows, v))
		}
		t.rows = append(t.rows, line)
	}
	return t
}

// line shows istiod's own figures.
func (p *peer) line() []string {
	out := []string{"istiod"}
	for _, c := range columns() {
		text := "-"
		if p.err == nil {
			text = c.show(c.of(p.figures))
		}
		out = append(out, text)
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

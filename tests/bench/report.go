package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// columns of the table.
func columns() []string {
	return []string{"", "proxy", "median", "lowest", "highest", "the first is", "must", "aim", "holds"}
}

// rows are an experiment's lines of the table, and how many of its limits hold.
func (r *result) rows() (out [][]string, hold, limits int) {
	for m, what := range r.measures {
		for i, c := range r.contenders {
			lines, held := r.lines(m, i)
			limits, hold = limits+r.limitsOf(what, i), hold+held
			for n, line := range lines {
				first := []string{"", c.name}
				if i == 0 && n == 0 {
					first[0] = what.name
				}
				out = append(out, append(first, line...))
			}
		}
	}
	return out, hold, limits
}

// concerns says whether a limit is shown at a contender's figure: at the peer's, or, where there is no single one, at Heddle's.
func (r *result) concerns(l limit, i int) bool {
	if l.peer == "" || l.peer == best {
		return i == 0
	}
	return r.contenders[i].name == l.peer
}

func (r *result) limitsOf(what measure, i int) (n int) {
	for _, l := range what.limits {
		if r.concerns(l, i) {
			n++
		}
	}
	return n
}

// lines are a contender's figure with one limit each, or alone.
func (r *result) lines(m, i int) (out [][]string, held int) {
	what, spread := r.measures[m], []string{"not measured", "", ""}
	if r.errs[i] == nil {
		v, f := r.figures[i][m], func(x float64) string { return fmt.Sprintf("%.*f", what.digits, x) }
		spread = []string{f(median(v)), f(slices.Min(v)), f(slices.Max(v))}
	}
	for _, l := range what.limits {
		if !r.concerns(l, i) {
			continue
		}
		line, ok := r.judge(m, l).columns(what.digits)
		if ok {
			held++
		}
		out = append(out, append(slices.Clone(spread), line...))
		spread = []string{"", "", ""}
	}
	if len(out) > 0 {
		return out, held
	}
	ratio := ""
	if x, err := r.ratio(m, i); err == nil && i > 0 && r.errs[0] == nil {
		ratio = fmt.Sprintf("%.2fx", x)
	}
	return [][]string{append(spread, ratio, "", "", "")}, 0
}

// columns are what a verdict fills: the ratio, the limits, and whether it holds.
func (v verdict) columns(digits int) (out []string, holds bool) {
	sign, unit := "≤ ", "x"
	if v.atLeast {
		sign = "≥ "
	}
	number := func(x float64) string { return fmt.Sprintf("%.2f%s", x, unit) }
	if v.peer == "" {
		number = func(x float64) string { return fmt.Sprintf("%.*f", digits, x) }
	}
	ratio, says := number(v.ratio), "no"
	switch {
	case v.err != nil:
		ratio, says = "unknown", "no"
	case v.holds():
		says = "yes"
	}
	if v.peer == best {
		ratio += " of " + best
	}
	return []string{ratio, sign + number(v.must), sign + number(v.aim), says}, v.holds()
}

// print shows an experiment's table.
func (r *result) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s: %s\n", r.name, r.title)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(columns(), "\t"))
	rows, _, _ := r.rows()
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, err := range r.failures() {
		fmt.Fprintln(w, "not measured:", err)
	}
	return nil
}

// failures name the contenders that were not measured.
func (r *result) failures() (out []error) {
	for i, err := range r.errs {
		if err != nil {
			out = append(out, fmt.Errorf("%s: %s: %w", r.name, r.contenders[i].name, err))
		}
	}
	return out
}

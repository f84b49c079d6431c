package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/heddle-mesh/heddle/ca/authority"
)

// site is where a mesh is: its folder, and the file that says how its API server is reached.
type site struct{ dir, kubeconfig string }

// series is what one control plane showed in each turn.
type series struct {
	all []figures
	err error // of the turn that failed, after which there are no more
}

// turns is how often control planes are measured in one mesh. Each turn changes it.
func (b *bench) turns() int {
	if b.binaries.istiod == "" {
		return b.rounds * len(b.audiences)
	}
	return 2 * b.rounds * len(b.audiences)
}

// size starts a mesh and measures each kind of clients in it: heddled, and istiod after it where there is one, in turns.
func (b *bench) size(ctx context.Context, s size) []row {
	out := make([]row, len(b.audiences))
	ours, peers := make([]series, len(b.audiences)), map[string]*series{}
	err := b.mesh(ctx, s, func(c *cluster, at site) {
		turn := 0
		take := func(to *series, a audience, start starter) {
			if to.err != nil || ctx.Err() != nil {
				return
			}
			c.audience, c.before = a, turn*changes
			turn++
			f, err := b.row(ctx, c, at, start)
			if to.err = err; err == nil {
				to.all = append(to.all, f)
			}
		}
		for range b.rounds {
			met := map[string]bool{}
			for i, a := range b.audiences {
				take(&ours[i], a, b.startHeddled)
				peer := a.peer()
				if b.binaries.istiod == "" || met[peer.name] {
					continue
				}
				if met[peer.name] = true; peers[peer.name] == nil {
					peers[peer.name] = &series{}
				}
				take(peers[peer.name], peer, b.startIstiod)
			}
		}
	})
	for i, a := range b.audiences {
		out[i] = row{size: s, figures: middle(ours[i].all), err: errors.Join(ours[i].err, err)}
		if p := peers[a.peer().name]; p != nil {
			out[i].peer = &peer{figures: middle(p.all), err: p.err}
		}
	}
	return out
}

// peer is what istiod showed beside a row.
type peer struct {
	figures
	err error // why it was not measured to the end
}

// middle is the median of each figure.
func middle(all []figures) figures {
	if len(all) == 0 {
		return figures{}
	}
	took := func(of func(figures) time.Duration) time.Duration { return median(all, of) }
	many := func(of func(figures) int64) int64 { return median(all, of) }
	return figures{
		connect: took(func(f figures) time.Duration { return f.connect }), endpoints: took(func(f figures) time.Duration { return f.endpoints }),
		service: took(func(f figures) time.Duration { return f.service }), virtual: took(func(f figures) time.Duration { return f.virtual }),
		cold: many(func(f figures) int64 { return f.cold }), serviceBytes: many(func(f figures) int64 { return f.serviceBytes }),
		virtualBytes: many(func(f figures) int64 { return f.virtualBytes }), memory: many(func(f figures) int64 { return f.memory }),
		cpu: took(func(f figures) time.Duration { return f.cpu }),
	}
}

func median[T cmp.Ordered](all []figures, of func(figures) T) T {
	values := make([]T, 0, len(all))
	for _, f := range all {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// starter starts a control plane.
type starter func(context.Context, site) (*plane, error)

// row starts a control plane and its clients, measures, and ends them again.
func (b *bench) row(ctx context.Context, c *cluster, at site, start starter) (_ figures, err error) {
	undo, err := c.importFew(ctx)
	if err != nil {
		return figures{}, fmt.Errorf("importing a few: %w", err)
	}
	defer func() { err = errors.Join(err, undo()) }()
	p, err := start(ctx, at)
	if err != nil {
		return figures{}, err
	}
	defer p.stop()
	var root *authority.Authority // nobody proves anything without TLS
	if !p.insecure {
		if root, err = c.root(ctx); err != nil {
			return figures{}, err
		}
	}
	f, err := newFleet(root, c, p.discovery)
	if err != nil {
		return figures{}, err
	}
	defer f.end()
	out, err := b.measure(ctx, trial{c, p, f})
	if lost := f.lost.Load(); err == nil && lost > 0 {
		err = fmt.Errorf("%d streams were lost", lost)
	}
	if err != nil && !b.keep {
		err = errors.Join(err, errors.New(p.process.name+": "+p.tail()))
	}
	return out, err
}

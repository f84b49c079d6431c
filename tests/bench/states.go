package main

import (
	"context"
	"fmt"
	"time"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/tests/bench/load"
	"github.com/heddle-mesh/heddle/tests/bench/plane"
)

const (
	idleConnections = 2000
	settleFor       = 3 * time.Second // until memory is what it stays at
	mega, kilo      = 1 << 20, 1 << 10
)

// memory measures fresh processes in each turn.
func (b *bench) memory() experiment {
	m := full()
	m.Clusters = 1000
	request := spread(m, "")(0)
	turn := func(ctx context.Context, start starter) ([]float64, error) {
		f, err := start(ctx)
		if err != nil {
			return nil, err
		}
		defer f.stop()
		if err := f.answers(ctx, request); err != nil {
			return nil, err
		}
		before, err := f.settled(ctx)
		if err != nil {
			return nil, err
		}
		release, err := load.Hold(f.addr, idleConnections, request)
		if err != nil {
			return nil, err
		}
		defer release()
		after, err := f.settled(ctx)
		return []float64{before / mega, (after - before) / idleConnections / kilo}, err
	}
	one := func(name string, start starter) contender {
		return contender{name, func(context.Context) (subject, error) {
			return subject{func(ctx context.Context) ([]float64, error) { return turn(ctx, start) }, func() {}}, nil
		}}
	}
	return experiment{name: "memory", title: "Resident memory of a gateway with 1000 clusters of 5 endpoints, and of each of 2000 idle connections after one request", measures: []measure{
		{"MiB", 1, []limit{{peer: nameEnvoy, must: 0.5, aim: 0.3}}}, {"KiB per idle connection", 1, []limit{{peer: nameEnvoy, must: 0.35, aim: 0.25}}}}, contenders: []contender{
		one(nameHeddle, b.meshed(b.heddle, m)), one(nameEnvoy, b.meshed(b.envoy, m))}}
}

// settled is the memory of a fleet that has had time.
func (f *fleet) settled(ctx context.Context) (float64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settleFor):
		return f.memory()
	}
}

const (
	swapEvery       = 100 * time.Millisecond
	longConnections = 16 // of each kind
)

// swaps changes the configuration under load and counts what breaks.
func (b *bench) swaps() experiment {
	m := full()
	request := spread(m, "")
	turn := func(ctx context.Context, f *fleet) ([]float64, error) {
		meshes, err := f.variants()
		if err != nil {
			return nil, err
		}
		long := &load.Long{}
		defer long.End()
		upgrade := fmt.Appendf(nil, "GET /r0/echo HTTP/1.1\r\nHost: %s\r\nX-User: jane\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", host(0))
		if err := long.Keep(f.addr, longConnections, upgrade); err != nil {
			return nil, fmt.Errorf("upgraded connections: %w", err)
		}
		if err := long.Keep(f.tcp, longConnections, nil); err != nil {
			return nil, fmt.Errorf("TCP connections: %w", err)
		}
		done := make(chan swapped, 1)
		swapping, stop := context.WithCancel(ctx)
		go func() { done <- f.swap(swapping, meshes) }()
		seen := load.HTTP{Address: f.addr, Connections: connections, For: 2 * b.each, Request: request}.Run(ctx)
		stop()
		s := <-done
		if s.err == nil {
			s.err = f.refusals()
		}
		if seen.Err != nil {
			fmt.Printf("swap: the first request that failed: %v\n", seen.Err)
		}
		return []float64{float64(seen.Failed), float64(long.End()), float64(s.n) / (2 * b.each).Seconds(), float64(seen.Done)}, s.err
	}
	one := func(name string, l launcher) contender {
		return against(name, func(ctx context.Context) (*fleet, error) { return b.gateway(ctx, l, m, "echo") }, request(0), turn)
	}
	return experiment{name: "swap", title: "Routes, clusters and authorisation changed ten times a second under load", measures: []measure{
		{"requests failed", 0, []limit{{must: 0}}}, {"long connections cut", 0, []limit{{must: 0}}}, {"changes per second", 1, []limit{{must: 9, aim: 9.5, atLeast: true}}}, {"requests", 0, nil}}, contenders: []contender{
		one(nameHeddle, b.heddle), one(nameEnvoy, b.envoy)}}
}

// variants are two meshes to swap between.
func (f *fleet) variants() (out [2]*inputs.Inputs, err error) {
	for i := range out {
		m := f.mesh
		m.Variant = i + 1
		text, err := m.text()
		if err != nil {
			return out, err
		}
		if out[i], err = plane.Read(text); err != nil {
			return out, err
		}
	}
	return out, nil
}

type swapped struct {
	n   int
	err error
}

// swap shows the proxies one mesh after the other until ctx ends.
func (f *fleet) swap(ctx context.Context, meshes [2]*inputs.Inputs) (s swapped) {
	tick := time.NewTicker(swapEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s
		case <-tick.C:
			if s.err = f.plane.Show(meshes[s.n%len(meshes)]); s.err != nil {
				return s
			}
			s.n++
		}
	}
}

package main

import (
	"context"
	"fmt"

	"github.com/heddle-mesh/heddle/tests/bench/load"
)

// experiments are all that can be measured, in the order of the page: those with targets first.
func (b *bench) experiments() []experiment {
	return []experiment{b.hop(), b.pairs(), b.rpc(), b.bulk(), b.connects(), b.waits(), b.memory(), b.swaps(), b.firsts(),
		b.crowds(), b.bodies(), b.tables(), b.logs(), b.filters()}
}

// variant is a load whose cost is one measure.
type variant struct {
	name string
	load load.HTTP
}

// compare measures each variant's CPU per request on proxies that have the same to do.
func (b *bench) compare(name, title string, m gatewayMesh, variants []variant) experiment {
	turn := func(ctx context.Context, f *fleet) ([]float64, error) {
		var out []float64
		for _, v := range variants {
			v.load.For = b.each
			cost, _, err := f.asking(ctx, v.load)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.name, err)
			}
			out = append(out, cost)
		}
		return out, nil
	}
	var measures []measure
	for _, v := range variants {
		measures = append(measures, measure{"CPU µs per request, " + v.name, 1, nil})
	}
	one := func(name string, start starter) contender { return against(name, start, spread(m, "")(0), turn) }
	return experiment{name: name, title: title, measures: measures, contenders: []contender{
		one(nameHeddle, b.meshed(b.heddle, m)), one(nameHAProxy, b.to("http", haproxyOne("http", "", "    http-reuse always"))),
		one(nameNginx, b.to("http", nginx("", forwardHTTP))), one(nameEnvoy, b.meshed(b.envoy, m))}}
}

func (b *bench) crowds() experiment {
	var variants []variant
	for _, n := range []int{1, 8, 64, 512} {
		variants = append(variants, variant{fmt.Sprintf("%d connections", n), load.HTTP{Connections: n, Request: spread(full(), "")}})
	}
	return b.compare("crowds", "One hop, by the number of connections", full(), variants)
}

func (b *bench) bodies() experiment {
	var variants []variant
	for _, size := range []struct {
		name  string
		bytes int
	}{{"0 B", 0}, {"1 KiB", 1 << 10}, {"64 KiB", 64 << 10}, {"1 MiB", 1 << 20}} {
		variants = append(variants, variant{size.name, load.HTTP{Connections: connections, Request: spread(full(), fmt.Sprintf("&size=%d", size.bytes))}})
	}
	return b.compare("bodies", "One hop, by the size of the response", full(), variants)
}

// inside compares meshes with each other: the first is what the others are measured by.
func (b *bench) inside(name, title string, l launcher, meshes []named) experiment {
	e := experiment{name: name, title: title, measures: []measure{{"CPU µs per request", 1, nil}}}
	for _, m := range meshes {
		request := spread(m.gatewayMesh, "")
		e.contenders = append(e.contenders, against(m.name, b.meshed(l, m.gatewayMesh), request(0), func(ctx context.Context, f *fleet) ([]float64, error) {
			cost, _, err := f.asking(ctx, load.HTTP{Connections: connections, For: b.each, Request: request})
			return []float64{cost}, err
		}))
	}
	return e
}

type named struct {
	name string
	gatewayMesh
}

func (b *bench) tables() experiment {
	return b.inside("tables", "Heddle with 1 host of 1 route, and with 100 hosts of 10 routes", b.heddle, []named{
		{"1 host of 1 route", bare()}, {"100 hosts of 10 routes", gatewayMesh{Hosts: 100, Routes: 10}}})
}

func (b *bench) logs() experiment {
	logged := full()
	logged.Logs = true
	return b.inside("logs", "Heddle without an access log, and with one", b.heddle, []named{{"no access log", full()}, {"an access log", logged}})
}

func (b *bench) filters() experiment {
	with := func(change func(*gatewayMesh)) gatewayMesh {
		m := bare()
		change(&m)
		return m
	}
	return b.inside("filters", "Heddle with one thing more to do", b.heddle, []named{{"nothing more", bare()},
		{"authorisation", with(func(m *gatewayMesh) { m.Policy = true })}, {"CORS", with(func(m *gatewayMesh) { m.CORS = true })},
		{"fault injection", with(func(m *gatewayMesh) { m.Fault = true })}, {"header operations", with(func(m *gatewayMesh) { m.Headers = true })},
		{"a local rate limit", with(func(m *gatewayMesh) { m.Limit = true })}, {"gRPC-Web", with(func(m *gatewayMesh) { m.GRPCWeb = true })},
		{"sessions", with(func(m *gatewayMesh) { m.Session = true })}})
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/heddle-mesh/heddle/tests/bench/load"
)

// Names of contenders.
const (
	nameHeddle, nameEnvoy, nameHAProxy, nameNginx, nameBefore = "Heddle", "Envoy", "HAProxy", "nginx", "Heddle before"
)

const connections = 32

// spread sends the requests of a gateway mesh over its hosts and routes.
func spread(m gatewayMesh, parameters string) func(i int) []byte {
	return func(i int) []byte {
		return load.Get(host(i%m.Hosts), fmt.Sprintf("/r%d/item?id=1%s", i%m.Routes, parameters))
	}
}

// starter starts a fleet.
type starter func(ctx context.Context) (*fleet, error)

// meshed is a gateway of Heddle's control plane.
func (b *bench) meshed(l launcher, m gatewayMesh) starter {
	return func(ctx context.Context) (*fleet, error) { return b.gateway(ctx, l, m, "discard") }
}

// to is a contender without a control plane before a backend.
func (b *bench) to(kind string, start func(context.Context, string) (*fleet, error)) starter {
	return func(ctx context.Context) (*fleet, error) { return start(ctx, b.at(kind)) }
}

// against is a contender that is measured by turns of a fleet, once that answers.
func against(name string, start starter, probe []byte, turn func(ctx context.Context, f *fleet) ([]float64, error)) contender {
	return contender{name, func(ctx context.Context) (subject, error) {
		f, err := start(ctx)
		if err != nil {
			return subject{}, err
		}
		if probe != nil {
			err = f.answers(ctx, probe)
		}
		if err == nil {
			_, err = turn(ctx, f) // connections and caches are what they will be
		}
		if err != nil {
			f.stop()
			return subject{}, err
		}
		return subject{func(ctx context.Context) ([]float64, error) { return turn(ctx, f) }, f.stop}, nil
	}}
}

// asking runs an HTTP load on a fleet and returns the CPU microseconds per request with what clients saw.
func (f *fleet) asking(ctx context.Context, h load.HTTP) (cost float64, seen load.Seen, err error) {
	h.Address = f.addr
	spent, err := f.costing(func() error {
		seen = h.Run(ctx)
		return seen.Check()
	})
	if err != nil {
		return 0, seen, err
	}
	return per(spent, time.Microsecond, float64(seen.Done)), seen, nil
}

func per(spent, unit time.Duration, n float64) float64 { return float64(spent) / float64(unit) / n }

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// saturated measures a hop by clients that ask as fast as they are answered.
func (b *bench) saturated(request func(int) []byte) func(context.Context, *fleet) ([]float64, error) {
	return func(ctx context.Context, f *fleet) ([]float64, error) {
		began := time.Now()
		cost, seen, err := f.asking(ctx, load.HTTP{Connections: connections, For: b.each, Request: request})
		if err != nil {
			return nil, err
		}
		return []float64{cost, float64(seen.Done) / time.Since(began).Seconds(), micro(seen.Quantile(0.5)), micro(seen.Quantile(0.99))}, nil
	}
}

func atSaturation(limits ...limit) []measure {
	return []measure{{"CPU µs per request", 1, limits}, {"requests per second", 0, nil}, {"p50 µs", 0, nil}, {"p99 µs", 0, nil}}
}

const forwardHTTP = `proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;`

func (b *bench) hop() experiment {
	m := full()
	request := spread(m, "")
	turn := b.saturated(request)
	one := func(name string, start starter) contender { return against(name, start, request(0), turn) }
	return b.withBefore(experiment{name: "hop", title: "One plaintext HTTP/1.1 hop: a gateway with 100 hosts of 10 routes, authorisation and metrics; HAProxy and nginx only forward",
		measures: atSaturation(limit{peer: nameHAProxy, must: 1.1, aim: 1.0}, limit{peer: nameEnvoy, must: 0.45, aim: 0.4}), contenders: []contender{
			one(nameHeddle, b.meshed(b.heddle, m)), one(nameHAProxy, b.to("http", haproxyOne("http", "", "    http-reuse always"))),
			one(nameNginx, b.to("http", nginx("", forwardHTTP))), one(nameEnvoy, b.meshed(b.envoy, m))}}, one(nameBefore, b.meshed(b.earlier, m)))
}

// withBefore adds the earlier build, where there is one.
func (b *bench) withBefore(e experiment, earlier contender) experiment {
	if b.before != "" {
		e.contenders = append(e.contenders, earlier)
	}
	return e
}

func (b *bench) pairs() experiment {
	request := load.Get(serverHost, "/item?id=1")
	turn := b.saturated(func(int) []byte { return request })
	one := func(name string, start starter) contender { return against(name, start, request, turn) }
	with := func(l launcher) starter { return func(ctx context.Context) (*fleet, error) { return b.pair(ctx, l) } }
	return b.withBefore(experiment{name: "pair", title: "A client's and a server's sidecar with mTLS between them, both counted; HAProxys that only forward",
		measures: atSaturation(limit{peer: nameEnvoy, must: 0.45, aim: 0.38}, limit{peer: nameHAProxy, must: 1.05, aim: 0.9}), contenders: []contender{
			one(nameHeddle, with(b.heddle)), one(nameHAProxy, b.to("http", haproxyPair)), one(nameEnvoy, with(b.envoy))}}, one(nameBefore, with(b.earlier)))
}

// waits compares what clients wait at half of what Envoy can do.
func (b *bench) waits() experiment {
	m := full()
	request := spread(m, "")
	var reference *fleet // Envoy's
	half := 0.0
	turn := func(ctx context.Context, f *fleet) ([]float64, error) {
		if half == 0 && reference != nil {
			began := time.Now()
			_, seen, err := reference.asking(ctx, load.HTTP{Connections: connections, For: b.each, Request: request})
			if err != nil {
				return nil, err
			}
			half = float64(seen.Done) / time.Since(began).Seconds() / 2
		}
		h := load.HTTP{Address: f.addr, Connections: 2 * connections, For: b.each, Request: request, Rate: half}
		seen := h.Run(ctx)
		return []float64{half, micro(seen.Quantile(0.5)), micro(seen.Quantile(0.99)), micro(seen.Quantile(0.999))}, seen.Check()
	}
	envoy := func(ctx context.Context) (f *fleet, err error) {
		if f, err = b.meshed(b.envoy, m)(ctx); err == nil {
			reference = f
		}
		return f, err
	}
	limits := []limit{{peer: nameEnvoy, must: 1.0, aim: 0.7}}
	return experiment{name: "waits", title: "What clients wait at half of the rate that Envoy is saturated at",
		measures: []measure{{"requests per second", 0, nil}, {"p50 µs", 0, limits}, {"p99 µs", 0, limits}, {"p99.9 µs", 0, limits}}, contenders: []contender{
			against(nameHeddle, b.meshed(b.heddle, m), request(0), turn), against(nameEnvoy, envoy, request(0), turn)}, times: 3}
}

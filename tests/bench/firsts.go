package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/bench/load"
	"github.com/heddle-mesh/heddle/tests/bench/plane"
)

const (
	knownServices = 1000
	firstAsked    = 100 // of these, in each turn
)

// firsts measures what the first request to a service waits where the proxy asks for that service then. Each turn has a fresh proxy.
func (b *bench) firsts() experiment {
	turn := func(ctx context.Context, l launcher) ([]float64, error) {
		f, err := b.client(ctx, l)
		if err != nil {
			return nil, err
		}
		defer f.stop()
		if err := f.answers(ctx, load.Get(host(0), "/")); err != nil {
			return nil, err
		}
		var first, second load.Seen
		for h := range firstAsked {
			for _, seen := range []*load.Seen{&first, &second} {
				asked := load.HTTP{Address: f.addr, Connections: 1, For: time.Nanosecond, Request: func(int) []byte { return load.Get(host(h+1), "/") }}.Run(ctx)
				if err := asked.Check(); err != nil {
					return nil, fmt.Errorf("%s: %w", host(h+1), err)
				}
				seen.Waits = append(seen.Waits, asked.Waits...)
			}
		}
		return []float64{milli(first.Quantile(0.5)), milli(slices.Max(first.Waits)), milli(second.Quantile(0.5))}, nil
	}
	one := func(name string, l launcher) contender {
		return contender{name, func(context.Context) (subject, error) {
			return subject{func(ctx context.Context) ([]float64, error) { return turn(ctx, l) }, func() {}}, nil
		}}
	}
	return experiment{name: "firsts", title: "What the first request to each of 100 services waits, of 1000 that there are, and the second one", measures: []measure{
		{"ms, first request", 2, []limit{{must: 5, aim: 2}}}, {"ms, slowest first request", 2, nil}, {"ms, second request", 2, nil}}, contenders: []contender{
		one("Heddle on demand", b.onDemand), one("Heddle, told everything", b.heddle)}}
}

// client starts a control plane of many services and a client's sidecar.
func (b *bench) client(ctx context.Context, launch launcher) (*fleet, error) {
	addr, err := freeAddr(clientIP)
	if err != nil {
		return nil, err
	}
	mesh := &strings.Builder{}
	mesh.WriteString(pod(clientPod, clientIP, true))
	for h := range knownServices {
		fmt.Fprintf(mesh, servicesText, h, plane.Namespace, host(h), b.port("http"))
	}
	f := &fleet{addr: addr}
	return f, f.launch(ctx, mesh.String(), launch, map[string]plane.Place{clientPod: {Address: netip.MustParseAddrPort(addr)}}, guest{wire.NodeSidecar, clientPod, clientIP})
}

const servicesText = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: svc-%[1]d, namespace: %[2]s}
spec:
  hosts: [%[3]s]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %[4]s}}]
`

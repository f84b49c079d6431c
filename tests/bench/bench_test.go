package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/bench/load"
	"github.com/heddle-mesh/heddle/tests/bench/plane"
)

// TestMeshes holds that pilot takes the meshes that are measured as they stand, and lets their proxies in: nothing is refused or left out.
func TestMeshes(t *testing.T) {
	all := bare()
	all.CORS, all.Fault, all.Headers, all.Policy, all.Logs, all.GRPCWeb, all.Session, all.Clusters, all.Variant = true, true, true, true, true, true, true, 3, 1
	two := gatewayMesh{Hosts: 2, Routes: 2, Policy: true, Headers: true}
	for name, m := range map[string]gatewayMesh{"everything": all, "nothing": bare(), "two": two} {
		m.HTTPPort, m.TCPPort, m.HTTP, m.GRPC, m.TCP = "8080", "9000", "1", "2", "3"
		text, err := m.text()
		if err != nil {
			t.Fatal(err)
		}
		show(t, name, text, wire.NodeRouter, edgePod)
	}
	show(t, "pair", pairMesh("8080", "9090"), wire.NodeSidecar, clientPod, serverPod)
}

func show(t *testing.T, name, text, role string, pods ...string) {
	t.Helper()
	p, err := plane.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	in, err := plane.Read(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := p.Show(in); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
	for _, pod := range pods {
		if err := p.Admits(t.Context(), role, pod); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLoads holds that each load and its backend understand each other without a proxy between, and that a load notices what is wrong.
func TestLoads(t *testing.T) {
	const short = 50 * time.Millisecond
	at := map[string]string{}
	for kind, serve := range load.Backends() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		at[kind] = l.Addr().String()
		go func() { _ = load.Accept(t.Context(), l, serve) }()
	}
	ask := func(kind, path string, rate float64) load.Seen {
		return load.HTTP{Address: at[kind], Connections: 2, For: short, Rate: rate, Request: func(int) []byte { return load.Get("x.test", path) }}.Run(t.Context())
	}
	for _, path := range []string{"/", "/?size=0", "/?size=200000"} {
		if seen := ask("http", path, 0); seen.Check() != nil || len(seen.Waits) != seen.Done || seen.Quantile(0.5) > seen.Quantile(0.999) {
			t.Errorf("%s: %v, %d waits for %d answers", path, seen.Check(), len(seen.Waits), seen.Done)
		}
	}
	if seen := ask("http", "/", 200); seen.Check() != nil || seen.Done > 20 {
		t.Errorf("paced: %d answers, %v", seen.Done, seen.Check())
	}
	if seen := ask("echo", "/", 0); seen.Check() == nil {
		t.Error("an echo was taken for an answer")
	}
	if seen := (load.GRPC{Address: at["grpc"], Authority: "x.test", Connections: 2, Streams: 3, For: short}).Run(t.Context()); seen.Check() != nil {
		t.Error(seen.Check())
	}
	if n, err := load.Bulk(t.Context(), at["discard"], short); n == 0 || err != nil {
		t.Errorf("sent %d: %v", n, err)
	}
	release, err := load.Hold(at["http"], 3, load.Get("x.test", "/"))
	if err != nil {
		t.Fatal(err)
	}
	release()
	long := &load.Long{}
	if err := errors.Join(long.Keep(at["echo"], 2, nil), long.Keep(at["http"], 2, []byte("GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n"))); err != nil {
		t.Error(err)
	}
	if cut := long.End(); cut != 0 {
		t.Errorf("%d were cut", cut)
	}
}

// TestCutConnections holds that a long connection which the other side ends is counted.
func TestCutConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err == nil {
			_ = c.Close()
		}
		close(gone)
	}()
	long := &load.Long{}
	if err := long.Keep(l.Addr().String(), 1, nil); err != nil {
		t.Fatal(err)
	}
	<-gone
	for until := time.Now().Add(30 * time.Second); long.Cut() == 0 && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
	}
	if cut := long.End(); cut != 1 {
		t.Errorf("%d were cut, want 1", cut)
	}
}

// fixed is a contender whose figures are known.
func fixed(name string, figures ...float64) contender {
	return contender{name, func(context.Context) (subject, error) {
		if len(figures) == 0 {
			return subject{}, errors.New("cannot be had")
		}
		n := 0
		return subject{func(context.Context) ([]float64, error) {
			n++
			return []float64{figures[n-1]}, nil
		}, func() {}}, nil
	}}
}

// TestVerdicts holds how ratios are made, which limits hold, and that a peer that is not there makes its limits fail by its name.
func TestVerdicts(t *testing.T) {
	cases := map[string]struct {
		limit limit
		want  string
		holds bool
	}{
		"the median of the ratios in each round":   {limit{peer: "slow", must: 0.5}, "0.50x ≤ 0.50x", true},
		"over the limit":                           {limit{peer: "fast", must: 1.9}, "2.00x ≤ 1.90x", false},
		"at least":                                 {limit{peer: "fast", must: 2, atLeast: true}, "2.00x ≥ 2.00x", true},
		"a peer that is not there":                 {limit{peer: "absent", must: 100}, "unknown ≤ 100.00x", false},
		"the better of several needs all of them":  {limit{peer: best, must: 100}, "unknown of the better ≤ 100.00x", false},
		"what must not happen, in no round at all": {limit{must: 5}, "6 ≤ 5", false},
	}
	e := experiment{name: "e", title: "An experiment.", contenders: []contender{fixed(nameHeddle, 1, 2, 6), fixed("slow", 2, 4, 6), fixed("fast", 0.5, 1, 3), fixed("absent")}}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e.measures = []measure{{"figure", 0, []limit{c.limit}}}
			r := e.run(t.Context(), 3)
			line, holds := r.judge(0, c.limit).columns(0)
			if got := line[0] + " " + line[1]; got != c.want || holds != c.holds {
				t.Errorf("%s, holds: %v", got, holds)
			}
			rows, hold, limits := r.rows()
			if limits != 1 || (hold == 1) != c.holds || len(rows) != len(e.contenders) {
				t.Errorf("%d of %d hold in %v", hold, limits, rows)
			}
			var out bytes.Buffer
			if err := r.print(&out); err != nil || !strings.Contains(out.String(), "not measured: e: absent: cannot be had") {
				t.Errorf("%v %s", err, out.String())
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for want, v := range map[float64][]float64{0: nil, 3: {9, 1, 3}, 2.5: {1, 2, 3, 9}} {
		if got := median(v); got != want {
			t.Errorf("%v: %v", v, got)
		}
	}
}

// TestNames holds that experiments are found by their names, each of which is there once.
func TestNames(t *testing.T) {
	b := &bench{}
	seen := map[string]bool{}
	for _, e := range b.experiments() {
		if seen[e.name] || e.contenders[0].name == "" {
			t.Errorf("%q is there twice, or has no name for what is first", e.name)
		}
		seen[e.name] = true
	}
	if got, err := choose(b.experiments(), "tcp,hop"); err != nil || len(got) != 2 || got[0].name != "tcp" {
		t.Errorf("%d, %v", len(got), err)
	}
	if _, err := choose(b.experiments(), "nonsense"); err == nil || !strings.Contains(fmt.Sprint(err), "nonsense") {
		t.Error(err)
	}
}

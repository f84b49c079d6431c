package upstream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// crowd makes hosts of "priority zone weight: states", a state for each: f fit, u unhealthy, d draining.
func crowd(t *testing.T, lines ...string) (all []*exchange.Endpoint) {
	t.Helper()
	for i, line := range lines {
		var priority, weight uint32
		var at, states string
		if _, err := fmt.Sscanf(line, "%d %s %d %s", &priority, &at, &weight, &states); err != nil {
			t.Fatal(err)
		}
		for j, state := range states {
			all = append(all, endpoint(fmt.Sprintf("10.%d.0.%d:1", i, j), func(e *exchange.Endpoint) {
				e.Priority, e.LocalityWeight, e.Locality.Zone = priority, weight, at
				e.Unhealthy, e.Draining = state == 'u', state == 'd'
			}))
		}
	}
	return all
}

// TestLevels holds who takes how much traffic, in percent of all, by line. The numbers are Envoy's.
func TestLevels(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   Config
		lines []string
		want  []float64
	}{
		"a healthy first priority takes all":           {Config{}, []string{"0 a 0 ff", "1 b 0 ff"}, []float64{100, 0}},
		"while 5 of 7 are fit":                         {Config{}, []string{"0 a 0 fffffuu", "1 b 0 f"}, []float64{100, 0}},
		"what it cannot take goes to the next":         {Config{}, []string{"0 a 0 fu", "1 b 0 ff"}, []float64{70, 30}},
		"and from there to the next":                   {Config{}, []string{"0 a 0 fuuu", "1 b 0 fu", "2 c 0 f"}, []float64{35, 65, 0}},
		"nobody healthy: the next takes all":           {Config{}, []string{"0 a 0 uu", "1 b 0 f"}, []float64{0, 100}},
		"too few everywhere: shares grow":              {Config{}, []string{"0 a 0 fuuu", "1 b 0 fuuu"}, []float64{50, 50}},
		"who drains is as good as gone":                {Config{}, []string{"0 a 0 ffdd", "1 b 0 ff"}, []float64{100, 0}},
		"all drain":                                    {Config{}, []string{"0 a 0 dd", "1 b 0 ff"}, []float64{0, 100}},
		"numbers need not follow each other":           {Config{}, []string{"7 b 0 ff", "3 a 0 fu"}, []float64{30, 70}},
		"panic is a priority's own":                    {Config{Panic: 30}, []string{"0 a 0 fuuu", "1 b 0 fuu"}, []float64{44, 56}},
		"all panic: by how many hosts they have":       {Config{Panic: 60}, []string{"0 a 0 fuuu", "1 b 0 fuu"}, []float64{58, 42}},
		"those that drain are among them":              {Config{Panic: 60}, []string{"0 a 0 uuu", "1 b 0 d"}, []float64{75, 25}},
		"no panic while others take it on":             {Config{Panic: 60}, []string{"0 a 0 fuuu", "1 b 0 ff"}, []float64{35, 65}},
		"nobody fit at all: everybody, in a panic":     {Config{Panic: 50}, []string{"0 a 0 u", "1 b 0 uuu"}, []float64{25, 75}},
		"localities by weight":                         {Config{ByLocality: true}, []string{"0 a 80 f", "0 b 20 ffff"}, []float64{80, 20}},
		"weights do not count unless asked for":        {Config{}, []string{"0 a 80 f", "0 b 20 ffff"}, []float64{20, 80}},
		"a locality gives up what it cannot take on":   {Config{ByLocality: true}, []string{"0 a 50 fu", "0 b 50 ff"}, []float64{41, 59}},
		"a locality without weight gets nothing":       {Config{ByLocality: true}, []string{"0 a 0 ff", "0 b 1 ff"}, []float64{0, 100}},
		"all localities without weight: none counts":   {Config{ByLocality: true}, []string{"0 a 0 fff", "0 b 0 f"}, []float64{75, 25}},
		"weights of localities do not count in panic":  {Config{ByLocality: true, Panic: 60}, []string{"0 a 90 fu", "0 b 10 uu"}, []float64{50, 50}},
		"localities of a priority share what it takes": {Config{ByLocality: true}, []string{"0 a 1 fu", "1 b 60 f", "1 c 40 f"}, []float64{70, 18, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, balancer := range []Balancer{LeastRequest, RoundRobin, Random} {
				c.cfg.Balancer = balancer
				const picks = 20_000
				got := make([]float64, len(c.lines))
				for address, n := range count(live(c.cfg, crowd(t, c.lines...)...), picks) {
					var line int
					if _, err := fmt.Sscanf(address, "10.%d.", &line); err != nil {
						t.Fatalf("picked %s", address)
					}
					got[line] += 100 * float64(n) / picks
				}
				for i, want := range c.want {
					if got[i] < want-2 || got[i] > want+2 || want == 0 && got[i] > 0 {
						t.Errorf("balancer %d: %.0f, want %.0f: %s", balancer, got, c.want, strings.Join(c.lines, ", "))
						break
					}
				}
			}
		})
	}
}

// TestEjectionShiftsTraffic: outlier detection moves traffic to the next priority, and back when it ends.
func TestEjectionShiftsTraffic(t *testing.T) {
	c := live(Config{Outlier: &outlier.Config{ConsecutiveGateway: 1, BaseEjection: 1 << 40, MaxEjectionPercent: 100}}, crowd(t, "0 a 0 ff", "1 b 0 ff")...)
	for _, h := range c.Hosts()[:2] {
		h.Report(outlier.Gateway)
	}
	c.reschedule()
	if got := count(c, 100); got["10.1.0.0:1"]+got["10.1.0.1:1"] != 100 {
		t.Errorf("with the first priority ejected: %v", got)
	}
}

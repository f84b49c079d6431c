package upstream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func TestOutlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := live(Config{Outlier: &Outlier{Consecutive5xx: 3, Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjectionPercent: 50}},
			endpoint(a), endpoint(b))
		h, other := c.Hosts()[0], c.Hosts()[1]
		fail := func(h *Host, n int) {
			for range n {
				h.Report(Gateway)
			}
			synctest.Wait()
		}
		fail(h, 2)
		h.Report(Good)
		fail(h, 2)
		if h.Ejected() {
			t.Fatal("ejected though not consecutive")
		}
		fail(h, 1)
		if !h.Ejected() || count(c, 50)[a] != 0 {
			t.Fatal("not ejected")
		}
		if fail(other, 3); other.Ejected() {
			t.Fatal("more than half ejected")
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if h.Ejected() || count(c, 50)[a] == 0 {
			t.Fatal("not let in again")
		}
		fail(h, 3)
		time.Sleep(31 * time.Second)
		if synctest.Wait(); !h.Ejected() {
			t.Fatal("the second ejection is not longer")
		}
		time.Sleep(39 * time.Second) // 60 s and the rest of the interval
		if synctest.Wait(); h.Ejected() {
			t.Fatal("not let in after the second ejection")
		}
	})
}

// TestEjectionsEndAtIntervals: a host comes back at the end of the interval in which its time is over, as in Envoy, and each interval without an ejection after
// that makes the next one shorter again.
func TestEjectionsEndAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := live(Config{Outlier: &Outlier{Consecutive5xx: 1, Interval: 10 * time.Second, BaseEjection: 20 * time.Second, MaxEjectionPercent: 100}}, endpoint(a))
		begun, h := time.Now(), c.Hosts()[0]
		for _, e := range []struct{ at, until time.Duration }{ // in seconds since the beginning
			{4, 30}, {31, 80}, // twice as long
			{99, 140},  // once is forgotten
			{180, 200}, // all are
		} {
			time.Sleep(time.Until(begun.Add(e.at * time.Second)))
			h.Report(Server)
			time.Sleep(time.Until(begun.Add(e.until*time.Second - time.Millisecond)))
			if synctest.Wait(); !h.Ejected() {
				t.Errorf("ejected at %d: is back before %d", e.at, e.until)
			}
			time.Sleep(2 * time.Millisecond)
			if synctest.Wait(); h.Ejected() {
				t.Errorf("ejected at %d: is not back at %d", e.at, e.until)
			}
		}
	})
}

// TestOutlierShare: how many of some hosts are ejected when all fail. A share is rounded down, to none as well.
func TestOutlierShare(t *testing.T) {
	for _, c := range []struct {
		hosts, want int
		percent     uint32
		always      bool
	}{{1, 0, 10, false}, {9, 0, 10, false}, {10, 1, 10, false}, {19, 1, 10, false}, {3, 1, 50, false}, {4, 2, 50, false}, {3, 2, 67, false}, {3, 3, 100, false}, {3, 0, 0, false},
		{1, 1, 10, true}, {3, 1, 10, true}, {4, 2, 50, true}} {
		var endpoints []*exchange.Endpoint
		for i := range c.hosts {
			endpoints = append(endpoints, endpoint(fmt.Sprintf("10.0.0.%d:80", i)))
		}
		cluster := live(Config{Outlier: &Outlier{Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: c.percent, AlwaysOne: c.always}}, endpoints...)
		ejected := 0
		for _, h := range cluster.Hosts() {
			if h.Report(Server); h.Ejected() {
				ejected++
			}
		}
		if ejected != c.want {
			t.Errorf("%+v: %d are ejected", c, ejected)
		}
	}
}

func TestOutlierKinds(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     Outlier
		results []Result
		want    bool
	}{
		"500 is no gateway error":       {Outlier{ConsecutiveGateway: 2}, []Result{Server, Server, Server}, false},
		"gateway errors":                {Outlier{ConsecutiveGateway: 2}, []Result{Gateway, Gateway}, true},
		"500 breaks a gateway series":   {Outlier{ConsecutiveGateway: 2}, []Result{Gateway, Server, Gateway}, false},
		"local counts as gateway":       {Outlier{ConsecutiveGateway: 2}, []Result{Local, Local}, true},
		"split: local counts apart":     {Outlier{ConsecutiveGateway: 2, SplitLocal: true, ConsecutiveLocal: 3}, []Result{Local, Local}, false},
		"split: local reaches its own":  {Outlier{SplitLocal: true, ConsecutiveLocal: 3}, []Result{Local, Local, Local}, true},
		"split: an answer resets local": {Outlier{SplitLocal: true, ConsecutiveLocal: 2}, []Result{Local, Gateway, Local}, false},
	} {
		c.cfg.MaxEjectionPercent, c.cfg.BaseEjection = 100, time.Hour
		h := live(Config{Outlier: &c.cfg}, endpoint(a)).Hosts()[0]
		for _, r := range c.results {
			h.Report(r)
		}
		if h.Ejected() != c.want {
			t.Errorf("%s: ejected %v", name, h.Ejected())
		}
	}
}

// TestDetectorsTogether: each detector has a series of its own, and whichever is complete first has the host ejected, once. As in Envoy, a failure that is a
// gateway's counts for 5xx as well, another one ends the gateway's series, and local ones count as a gateway's or, split, for themselves alone.
func TestDetectorsTogether(t *testing.T) {
	both, split := Outlier{Consecutive5xx: 5, ConsecutiveGateway: 3}, Outlier{Consecutive5xx: 5, ConsecutiveGateway: 3, SplitLocal: true, ConsecutiveLocal: 4}
	for name, c := range map[string]struct {
		cfg     Outlier
		results []Result
		at      int // the failure that has the host ejected, from 1; 0: none of them
	}{
		"gateway errors alone":                  {both, []Result{Gateway, Gateway, Gateway}, 3},
		"5xx, among them gateway errors":        {both, []Result{Gateway, Gateway, Server, Gateway, Gateway}, 5},
		"gateway errors, after 5xx":             {both, []Result{Server, Gateway, Gateway, Gateway}, 4},
		"both at once":                          {both, []Result{Server, Server, Gateway, Gateway, Gateway}, 5},
		"an answer ends both":                   {both, []Result{Gateway, Gateway, Server, Server, Good, Gateway, Gateway, Server}, 0},
		"local ones are a gateway's":            {both, []Result{Local, Gateway, Local}, 3},
		"local ones are 5xx":                    {both, []Result{Server, Local, Local, Server, Local}, 5},
		"split, local ones alone":               {split, []Result{Local, Local, Local, Local}, 4},
		"split, between those of the others":    {split, []Result{Gateway, Gateway, Local, Local, Gateway}, 5},
		"split, which end the local series":     {split, []Result{Local, Local, Local, Server, Local, Server, Server}, 0},
		"split, all series nearly complete":     {split, []Result{Server, Server, Gateway, Gateway, Local, Local, Local}, 0},
		"split, and then the first complete":    {split, []Result{Server, Server, Gateway, Gateway, Local, Local, Local, Local}, 8},
		"split, with no detector of local ones": {Outlier{Consecutive5xx: 2, SplitLocal: true}, []Result{Server, Local, Local, Local, Local, Local, Server}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.MaxEjectionPercent, c.cfg.BaseEjection = 100, time.Minute
				h := live(Config{Outlier: &c.cfg}, endpoint(a)).Hosts()[0]
				at := 0
				for i, r := range c.results {
					if h.Report(r); h.Ejected() && at == 0 {
						at = i + 1
					}
				}
				if at != c.at {
					t.Errorf("ejected by failure %d, want %d", at, c.at)
				}
				time.Sleep(time.Minute + time.Second) // not two: it was ejected once
				if synctest.Wait(); h.Ejected() {
					t.Error("ejected more than once")
				}
			})
		})
	}
}

// TestDetectorsShareTheCap: how many hosts may be out holds for all detectors together. A host that is spared is not ejected later for what it did then, and the
// next one that fails is once another has come back.
func TestDetectorsShareTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := live(Config{Outlier: &Outlier{Consecutive5xx: 3, ConsecutiveGateway: 2, SplitLocal: true, ConsecutiveLocal: 2, BaseEjection: time.Minute, MaxEjectionPercent: 50}},
			endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80"), endpoint("10.0.0.3:80"), endpoint("10.0.0.4:80"))
		fail := func(h *Host, r Result, n int) bool {
			for range n {
				h.Report(r)
			}
			synctest.Wait()
			return h.Ejected()
		}
		by5xx, byGateway, byLocal := c.Hosts()[0], c.Hosts()[1], c.Hosts()[2]
		if !fail(by5xx, Server, 3) {
			t.Error("5xx have nobody ejected")
		}
		time.Sleep(10 * time.Second)
		if !fail(byGateway, Gateway, 2) {
			t.Error("gateway errors have nobody ejected")
		}
		for name, r := range map[string]Result{"5xx": Server, "gateway errors": Gateway, "local failures": Local} {
			if fail(byLocal, r, 3) {
				t.Errorf("%s have a third of four ejected", name)
			}
		}
		byLocal.Report(Good)
		time.Sleep(51 * time.Second) // the first one is back
		if synctest.Wait(); by5xx.Ejected() || !byGateway.Ejected() || byLocal.Ejected() {
			t.Fatalf("ejected are %t, %t, %t", by5xx.Ejected(), byGateway.Ejected(), byLocal.Ejected())
		}
		if !fail(byLocal, Local, 2) {
			t.Error("local failures have nobody ejected")
		}
		if fail(by5xx, Local, 4) {
			t.Error("one more than half is ejected")
		}
	})
}

// TestEjectionEndsSeries: whichever series had a host ejected, all begin anew when it comes back.
func TestEjectionEndsSeries(t *testing.T) {
	for name, c := range map[string]struct {
		cfg          Outlier
		before, then []Result
	}{
		"5xx":                        {Outlier{Consecutive5xx: 5, ConsecutiveGateway: 3}, []Result{Gateway, Gateway, Gateway}, []Result{Server, Server, Server, Server}},
		"gateway":                    {Outlier{Consecutive5xx: 3, ConsecutiveGateway: 5}, []Result{Gateway, Gateway, Gateway}, []Result{Gateway, Gateway}},
		"local":                      {Outlier{Consecutive5xx: 3, SplitLocal: true, ConsecutiveLocal: 4}, []Result{Server, Server, Local, Local, Local, Server}, []Result{Local, Local, Local}},
		"local, while it is ejected": {Outlier{Consecutive5xx: 2, SplitLocal: true, ConsecutiveLocal: 4}, []Result{Server, Server, Local, Local, Local}, []Result{Local, Local, Local}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.MaxEjectionPercent, c.cfg.BaseEjection = 100, time.Minute
				h := live(Config{Outlier: &c.cfg}, endpoint(a)).Hosts()[0]
				report := func(results []Result) {
					for _, r := range results {
						h.Report(r)
					}
					synctest.Wait()
				}
				if report(c.before); !h.Ejected() {
					t.Fatal("not ejected")
				}
				time.Sleep(time.Minute + time.Second)
				synctest.Wait()
				if report(c.then); h.Ejected() {
					t.Error("ejected again by what had been before")
				}
			})
		})
	}
}

// TestEjectedHostsThatGo: a host that is removed while it is ejected does not count against the share of hosts that may be ejected.
func TestEjectedHostsThatGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(Options{})
		of := func(eps ...*exchange.Endpoint) *Cluster {
			cfg := &Config{Info: exchange.ClusterInfo{Name: "c"}, Discovery: Static, Endpoints: eps,
				Outlier: &Outlier{Consecutive5xx: 1, BaseEjection: time.Minute, MaxEjectionPercent: 50}}
			return r.Apply(map[string]*Config{"c": cfg}, nil).Get("c")
		}
		c := of(endpoint(a), endpoint(b))
		gone := c.Hosts()[0]
		gone.Report(Server)
		if !gone.Ejected() {
			t.Fatal("the first host is not ejected")
		}
		synctest.Wait()
		of(endpoint(b), endpoint(d))
		c.Hosts()[0].Report(Server)
		if !c.Hosts()[0].Ejected() {
			t.Error("the host that is gone still counts")
		}
		time.Sleep(time.Hour) // every ejection has ended, each once
		synctest.Wait()
		if n := c.ejected.Load(); n != 0 || c.Hosts()[0].Ejected() {
			t.Errorf("%d ejections are left", n)
		}
	})
}

package upstream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

func TestOutlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := live(Config{Outlier: &outlier.Config{Consecutive5xx: 3, Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjectionPercent: 50}},
			endpoint(a), endpoint(b))
		h, other := c.Hosts()[0], c.Hosts()[1]
		fail := func(h *Host, n int) {
			for range n {
				h.Report(outlier.Gateway)
			}
			synctest.Wait()
		}
		fail(h, 2)
		h.Report(outlier.Good)
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
		c := live(Config{Outlier: &outlier.Config{Consecutive5xx: 1, Interval: 10 * time.Second, BaseEjection: 20 * time.Second, MaxEjectionPercent: 100}}, endpoint(a))
		begun, h := time.Now(), c.Hosts()[0]
		for _, e := range []struct{ at, until time.Duration }{ // in seconds since the beginning
			{4, 30}, {31, 80}, // twice as long
			{99, 140},  // once is forgotten
			{180, 200}, // all are
		} {
			time.Sleep(time.Until(begun.Add(e.at * time.Second)))
			h.Report(outlier.Server)
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
		cluster := live(Config{Outlier: &outlier.Config{Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: c.percent, AlwaysOne: c.always}}, endpoints...)
		ejected := 0
		for _, h := range cluster.Hosts() {
			if h.Report(outlier.Server); h.Ejected() {
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
		cfg     outlier.Config
		results []outlier.Result
		want    bool
	}{
		"500 is no gateway error":       {outlier.Config{ConsecutiveGateway: 2}, []outlier.Result{outlier.Server, outlier.Server, outlier.Server}, false},
		"gateway errors":                {outlier.Config{ConsecutiveGateway: 2}, []outlier.Result{outlier.Gateway, outlier.Gateway}, true},
		"500 breaks a gateway series":   {outlier.Config{ConsecutiveGateway: 2}, []outlier.Result{outlier.Gateway, outlier.Server, outlier.Gateway}, false},
		"local counts as gateway":       {outlier.Config{ConsecutiveGateway: 2}, []outlier.Result{outlier.Local, outlier.Local}, true},
		"split: local counts apart":     {outlier.Config{ConsecutiveGateway: 2, SplitLocal: true, ConsecutiveLocal: 3}, []outlier.Result{outlier.Local, outlier.Local}, false},
		"split: local reaches its own":  {outlier.Config{SplitLocal: true, ConsecutiveLocal: 3}, []outlier.Result{outlier.Local, outlier.Local, outlier.Local}, true},
		"split: an answer resets local": {outlier.Config{SplitLocal: true, ConsecutiveLocal: 2}, []outlier.Result{outlier.Local, outlier.Gateway, outlier.Local}, false},
		"split: so does a connection":   {outlier.Config{SplitLocal: true, ConsecutiveLocal: 2}, []outlier.Result{outlier.Local, outlier.Connected, outlier.Local}, false},
		"split: and it resets no other": {outlier.Config{SplitLocal: true, Consecutive5xx: 2}, []outlier.Result{outlier.Server, outlier.Connected, outlier.Server}, true},
		"a connection resets nothing":   {outlier.Config{Consecutive5xx: 2}, []outlier.Result{outlier.Local, outlier.Connected, outlier.Local}, true},
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
	both, split := outlier.Config{Consecutive5xx: 5, ConsecutiveGateway: 3}, outlier.Config{Consecutive5xx: 5, ConsecutiveGateway: 3, SplitLocal: true, ConsecutiveLocal: 4}
	for name, c := range map[string]struct {
		cfg     outlier.Config
		results []outlier.Result
		at      int // the failure that has the host ejected, from 1; 0: none of them
	}{
		"gateway errors alone":                  {both, []outlier.Result{outlier.Gateway, outlier.Gateway, outlier.Gateway}, 3},
		"5xx, among them gateway errors":        {both, []outlier.Result{outlier.Gateway, outlier.Gateway, outlier.Server, outlier.Gateway, outlier.Gateway}, 5},
		"gateway errors, after 5xx":             {both, []outlier.Result{outlier.Server, outlier.Gateway, outlier.Gateway, outlier.Gateway}, 4},
		"both at once":                          {both, []outlier.Result{outlier.Server, outlier.Server, outlier.Gateway, outlier.Gateway, outlier.Gateway}, 5},
		"an answer ends both":                   {both, []outlier.Result{outlier.Gateway, outlier.Gateway, outlier.Server, outlier.Server, outlier.Good, outlier.Gateway, outlier.Gateway, outlier.Server}, 0},
		"local ones are a gateway's":            {both, []outlier.Result{outlier.Local, outlier.Gateway, outlier.Local}, 3},
		"local ones are 5xx":                    {both, []outlier.Result{outlier.Server, outlier.Local, outlier.Local, outlier.Server, outlier.Local}, 5},
		"split, local ones alone":               {split, []outlier.Result{outlier.Local, outlier.Local, outlier.Local, outlier.Local}, 4},
		"split, between those of the others":    {split, []outlier.Result{outlier.Gateway, outlier.Gateway, outlier.Local, outlier.Local, outlier.Gateway}, 5},
		"split, which end the local series":     {split, []outlier.Result{outlier.Local, outlier.Local, outlier.Local, outlier.Server, outlier.Local, outlier.Server, outlier.Server}, 0},
		"split, all series nearly complete":     {split, []outlier.Result{outlier.Server, outlier.Server, outlier.Gateway, outlier.Gateway, outlier.Local, outlier.Local, outlier.Local}, 0},
		"split, and then the first complete":    {split, []outlier.Result{outlier.Server, outlier.Server, outlier.Gateway, outlier.Gateway, outlier.Local, outlier.Local, outlier.Local, outlier.Local}, 8},
		"split, with no detector of local ones": {outlier.Config{Consecutive5xx: 2, SplitLocal: true}, []outlier.Result{outlier.Server, outlier.Local, outlier.Local, outlier.Local, outlier.Local, outlier.Local, outlier.Server}, 7},
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
		c := live(Config{Outlier: &outlier.Config{Consecutive5xx: 3, ConsecutiveGateway: 2, SplitLocal: true, ConsecutiveLocal: 2, BaseEjection: time.Minute, MaxEjectionPercent: 50}},
			endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80"), endpoint("10.0.0.3:80"), endpoint("10.0.0.4:80"))
		fail := func(h *Host, r outlier.Result, n int) bool {
			for range n {
				h.Report(r)
			}
			synctest.Wait()
			return h.Ejected()
		}
		by5xx, byGateway, byLocal := c.Hosts()[0], c.Hosts()[1], c.Hosts()[2]
		if !fail(by5xx, outlier.Server, 3) {
			t.Error("5xx have nobody ejected")
		}
		time.Sleep(10 * time.Second)
		if !fail(byGateway, outlier.Gateway, 2) {
			t.Error("gateway errors have nobody ejected")
		}
		for name, r := range map[string]outlier.Result{"5xx": outlier.Server, "gateway errors": outlier.Gateway, "local failures": outlier.Local} {
			if fail(byLocal, r, 3) {
				t.Errorf("%s have a third of four ejected", name)
			}
		}
		byLocal.Report(outlier.Good)
		time.Sleep(51 * time.Second) // the first one is back
		if synctest.Wait(); by5xx.Ejected() || !byGateway.Ejected() || byLocal.Ejected() {
			t.Fatalf("ejected are %t, %t, %t", by5xx.Ejected(), byGateway.Ejected(), byLocal.Ejected())
		}
		if !fail(byLocal, outlier.Local, 2) {
			t.Error("local failures have nobody ejected")
		}
		if fail(by5xx, outlier.Local, 4) {
			t.Error("one more than half is ejected")
		}
	})
}

// TestEjectionEndsSeries: whichever series had a host ejected, all begin anew when it comes back.
func TestEjectionEndsSeries(t *testing.T) {
	for name, c := range map[string]struct {
		cfg          outlier.Config
		before, then []outlier.Result
	}{
		"5xx":                        {outlier.Config{Consecutive5xx: 5, ConsecutiveGateway: 3}, []outlier.Result{outlier.Gateway, outlier.Gateway, outlier.Gateway}, []outlier.Result{outlier.Server, outlier.Server, outlier.Server, outlier.Server}},
		"gateway":                    {outlier.Config{Consecutive5xx: 3, ConsecutiveGateway: 5}, []outlier.Result{outlier.Gateway, outlier.Gateway, outlier.Gateway}, []outlier.Result{outlier.Gateway, outlier.Gateway}},
		"local":                      {outlier.Config{Consecutive5xx: 3, SplitLocal: true, ConsecutiveLocal: 4}, []outlier.Result{outlier.Server, outlier.Server, outlier.Local, outlier.Local, outlier.Local, outlier.Server}, []outlier.Result{outlier.Local, outlier.Local, outlier.Local}},
		"local, while it is ejected": {outlier.Config{Consecutive5xx: 2, SplitLocal: true, ConsecutiveLocal: 4}, []outlier.Result{outlier.Server, outlier.Server, outlier.Local, outlier.Local, outlier.Local}, []outlier.Result{outlier.Local, outlier.Local, outlier.Local}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.MaxEjectionPercent, c.cfg.BaseEjection = 100, time.Minute
				h := live(Config{Outlier: &c.cfg}, endpoint(a)).Hosts()[0]
				report := func(results []outlier.Result) {
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
				Outlier: &outlier.Config{Consecutive5xx: 1, BaseEjection: time.Minute, MaxEjectionPercent: 50}}
			return r.Apply(map[string]*Config{"c": cfg}, nil).Get("c")
		}
		c := of(endpoint(a), endpoint(b))
		gone := c.Hosts()[0]
		gone.Report(outlier.Server)
		if !gone.Ejected() {
			t.Fatal("the first host is not ejected")
		}
		synctest.Wait()
		of(endpoint(b), endpoint(d))
		c.Hosts()[0].Report(outlier.Server)
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

// TestEjectionsByOtherRules: who was ejected serves again, with a clean record, as soon as the rules for it change or go; not where something else of the
// cluster changes.
func TestEjectionsByOtherRules(t *testing.T) {
	rules := func(change ...func(*outlier.Config)) *outlier.Config {
		o := &outlier.Config{Consecutive5xx: 2, Interval: time.Second, BaseEjection: time.Hour, MaxEjectionPercent: 100}
		for _, f := range change {
			f(o)
		}
		return o
	}
	for name, c := range map[string]struct {
		then  Config
		again bool
	}{
		"no outlier detection any more": {Config{}, true},
		"shorter ejections":             {Config{Outlier: rules(func(o *outlier.Config) { o.BaseEjection = 10 * time.Second })}, true},
		"fewer ejections":               {Config{Outlier: rules(func(o *outlier.Config) { o.MaxEjectionPercent = 10 })}, true},
		"with hashing":                  {Config{Balancer: Maglev, Hashing: hashing.Sizes{Size: 251}}, true},
		"the same rules":                {Config{Outlier: rules()}, false},
		"another timeout":               {Config{Outlier: rules(), ConnectTimeout: time.Second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := NewRegistry(Options{})
				apply := func(cfg Config) *Cluster {
					cfg.Info.Name, cfg.Discovery, cfg.Endpoints = "c", Static, []*exchange.Endpoint{endpoint(a), endpoint(b)}
					return r.Apply(map[string]*Config{"c": &cfg}, nil).Get("c")
				}
				first := apply(Config{Outlier: rules()})
				h := first.Hosts()[0]
				h.Report(outlier.Server)
				h.Report(outlier.Server)
				synctest.Wait()
				then := apply(c.then)
				if h.Ejected() == c.again || (count(then, 100)[a] > 0) != c.again && !then.config().Balancer.hashes() {
					t.Errorf("ejected: %v, serves: %v", h.Ejected(), count(then, 100))
				}
				if left := then.ejected.Load(); (left == 0) != c.again {
					t.Errorf("%d ejections are left", left)
				}
				if h.Report(outlier.Server); c.again && h.Ejected() {
					t.Error("ejected again by what had been before")
				}
				time.Sleep(3 * time.Hour) // every ejection has ended, each once
				if synctest.Wait(); then.ejected.Load() != 0 {
					t.Errorf("%d ejections are left", then.ejected.Load())
				}
			})
		})
	}
}

// TestEjectionsWhileRulesGo: an ejection that is decided while its rules go does not outlive them.
func TestEjectionsWhileRulesGo(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			c := live(Config{Outlier: &outlier.Config{Consecutive5xx: 1, BaseEjection: time.Hour, MaxEjectionPercent: 100}}, endpoint(a), endpoint(b))
			for _, h := range c.Hosts() {
				go h.Report(outlier.Server)
			}
			cfg := *c.config()
			cfg.Outlier = nil
			c.apply(&cfg, nil)
			synctest.Wait()
			if got := count(c, 100); c.ejected.Load() != 0 || got[a] == 0 || got[b] == 0 {
				t.Fatalf("%d ejections are left: %v", c.ejected.Load(), got)
			}
		})
	}
}

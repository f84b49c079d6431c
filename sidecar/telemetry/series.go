package telemetry

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// bounds are the upper bounds of every histogram, those that Istio's dashboards expect: milliseconds or bytes.
var bounds = [...]float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000}

// Histogram counts observations by bucket. It is safe for concurrent use.
type Histogram struct {
	buckets [len(bounds) + 1]atomic.Uint64
	sum     atomic.Uint64 // in thousandths
}

func (h *Histogram) observe(v float64) {
	i := 0
	for i < len(bounds) && v > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(uint64(v * 1000))
}

// Read returns the count, the sum, and the cumulative count by upper bound.
func (h *Histogram) Read() (count uint64, sum float64, cumulative map[float64]uint64) {
	cumulative = make(map[float64]uint64, len(bounds))
	for i, b := range bounds {
		count += h.buckets[i].Load()
		cumulative[b] = count
	}
	count += h.buckets[len(bounds)].Load()
	return count, float64(h.sum.Load()) / 1000, cumulative
}

// Series is the counters of one set of labels: of requests, or of TCP connections.
type Series struct {
	holds                                 atomic.Uint32 // Metrics
	Requests                              atomic.Uint64
	Duration, RequestBytes, ResponseBytes Histogram
	Opened, Closed, Sent, Received        atomic.Uint64
}

// Holds reports whether a metric has these labels.
func (s *Series) Holds(m Metric) bool { return Metric(s.holds.Load())&m != 0 }

// request counts a request.
func (s *Series) request(metrics Metric, x *exchange.Exchange) {
	if metrics&Requests != 0 {
		s.Requests.Add(1)
	}
	if metrics&Duration != 0 {
		s.Duration.observe(float64(x.End.Sub(x.Start).Microseconds()) / 1000)
	}
	if metrics&RequestBytes != 0 {
		s.RequestBytes.observe(float64(x.Received))
	}
	if metrics&ResponseBytes != 0 {
		s.ResponseBytes.observe(float64(x.Sent))
	}
}

// course is what is new of a connection.
type course struct {
	opened, closed uint64
	sent, received int64
}

func (s *Series) connection(metrics Metric, c course) {
	if metrics&Opened != 0 {
		s.Opened.Add(c.opened)
	}
	if metrics&Closed != 0 {
		s.Closed.Add(c.closed)
	}
	if metrics&Sent != 0 {
		s.Sent.Add(uint64(c.sent))
	}
	if metrics&Received != 0 {
		s.Received.Add(uint64(c.received))
	}
}

const shards = 64

// store finds series by key without locks, and by labels under one. Keys hold pointers that configuration changes replace; equal labels
// keep their series, and the keys of a shard are dropped when there are too many.
type store struct {
	seed     maphash.Seed
	fast     [shards]shard
	limit    int
	overflow atomic.Uint64 // observations that had no series of their own

	mu       sync.Mutex
	byLabels map[Labels]*Series
}

type shard struct {
	mu   sync.Mutex
	keys atomic.Pointer[map[key]*Series]
}

func newStore(limit int) *store {
	return &store{seed: maphash.MakeSeed(), limit: limit, byLabels: map[Labels]*Series{}}
}

// get returns the series of k; known: it is k's own, and will be.
func (s *store) get(k *key) (series *Series, known bool) {
	sh := &s.fast[s.hash(k)%shards]
	if m := sh.keys.Load(); m != nil {
		if series, ok := (*m)[*k]; ok {
			return series, true
		}
	}
	return s.add(sh, k)
}

// hash spreads keys over shards; maphash.Comparable would move each key to the heap.
func (s *store) hash(k *key) uint64 {
	h := maphash.String(s.seed, k.sourceID) + uint64(k.code)<<32 + uint64(k.flags) + uint64(k.removed)<<7
	if k.made != "" {
		h = h*31 + maphash.String(s.seed, k.made)
	}
	if k.cluster != nil {
		h = h*31 + maphash.String(s.seed, k.cluster.Name)
	}
	for _, w := range [...]*exchange.Workload{k.source, k.destination} {
		if w != nil {
			h = h*31 + maphash.String(s.seed, w.Name)
		}
	}
	return h
}

func (s *store) add(sh *shard, k *key) (series *Series, known bool) {
	series, known = s.named(k.labels())
	series.holds.Or(k.metrics)
	if !known {
		return series, false // over the limit: not remembered, so that each observation is counted
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old := sh.keys.Load()
	next := map[key]*Series{}
	if old != nil && len(*old) < 2*s.limit/shards+16 {
		next = maps.Clone(*old)
	}
	next[*k] = series
	sh.keys.Store(&next)
	return series, true
}

// named returns the series of l, or, where there are too many, the one that stands for all others of its kind.
func (s *store) named(l Labels) (series *Series, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if series, ok := s.byLabels[l]; ok {
		return series, true
	}
	if len(s.byLabels) >= s.limit {
		s.overflow.Add(1)
		rest := Labels{reporter: l[reporter], requestProtocol: l[requestProtocol]}
		for i := range rest.Values() {
			rest[i] = orUnknown(rest[i])
		}
		l = rest
		if series, ok := s.byLabels[l]; ok {
			return series, false
		}
		known = false
	} else {
		known = true
	}
	series = &Series{}
	s.byLabels[l] = series
	return series, known
}

// each calls f for every series.
func (s *store) each(f func(l Labels, series *Series)) {
	s.mu.Lock()
	all := maps.Clone(s.byLabels)
	s.mu.Unlock()
	for l, series := range all {
		f(l, series)
	}
}

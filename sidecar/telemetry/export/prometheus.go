// Package export carries telemetry out of the process: Prometheus text by client_golang, spans by otel's OTLP exporter. It is the only
// place of the proxy that knows those libraries, and nothing on the hot path imports it.
package export

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// Collector is a prometheus.Collector of everything that a Recorder counted.
type Collector struct {
	rec   *telemetry.Recorder
	logs  *telemetry.AccessLogs // may be nil
	spans *telemetry.Spans      // may be nil
	http  []string              // label names of requests
	tcp   []string              // label names of connections
	keep  []int                 // which labels connections have
}

// NewCollector returns a Collector. logs and spans may be nil.
func NewCollector(rec *telemetry.Recorder, logs *telemetry.AccessLogs, spans *telemetry.Spans) *Collector {
	c := &Collector{rec: rec, logs: logs, spans: spans, http: telemetry.LabelNames()}
	for i, name := range c.http {
		if name != "response_code" && name != "grpc_response_status" {
			c.tcp, c.keep = append(c.tcp, name), append(c.keep, i)
		}
	}
	return c
}

// Describe implements prometheus.Collector: series come and go, so nothing is described.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	c.rec.Each(func(l telemetry.Labels, s *telemetry.Series) {
		c.requests(out, l, s)
		c.connections(out, l, s)
	})
	c.counter(out, telemetry.MetricPanics, "Panics that were recovered; each closed one connection.", c.rec.Panics())
	c.counter(out, telemetry.MetricOverflow, "Observations beyond the cap on series.", c.rec.Overflow())
	refused := prometheus.NewDesc(telemetry.MetricRefused, "Connections that no filter chain has served, by reason.", []string{"reason"}, nil)
	c.rec.EachRefusal(func(reason string, n uint64) {
		out <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(n), reason)
	})
	malformed := prometheus.NewDesc(telemetry.MetricMalformed, "Requests, and connections of HTTP/2, that were refused for their form, by what is wrong with it.", []string{"reason"}, nil)
	c.rec.EachMalformed(func(reason string, n uint64) {
		out <- prometheus.MustNewConstMetric(malformed, prometheus.CounterValue, float64(n), reason)
	})
	if c.logs != nil {
		c.counter(out, telemetry.MetricLogDropped, "Access log lines that could not be written.", c.logs.Dropped())
	}
	if c.spans != nil {
		c.counter(out, telemetry.MetricSpansDropped, "Spans that were lost before or during export.", c.spans.Dropped())
	}
}

func (c *Collector) counter(out chan<- prometheus.Metric, name, help string, v uint64) {
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, float64(v))
}

func (c *Collector) requests(out chan<- prometheus.Metric, l telemetry.Labels, s *telemetry.Series) {
	own, made := l.Own()
	names, values := slices.Concat(c.http, own), slices.Concat(l.Values(), made)
	if s.Holds(telemetry.Requests) {
		requests := prometheus.NewDesc(telemetry.MetricRequests, "Requests.", names, nil)
		out <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(s.Requests.Load()), values...)
	}
	for _, h := range []struct {
		metric     telemetry.Metric
		name, help string
		of         *telemetry.Histogram
	}{
		{telemetry.Duration, telemetry.MetricDuration, "Duration of requests in milliseconds.", &s.Duration},
		{telemetry.RequestBytes, telemetry.MetricRequestBytes, "Bytes of request bodies.", &s.RequestBytes},
		{telemetry.ResponseBytes, telemetry.MetricResponseBytes, "Bytes of response bodies.", &s.ResponseBytes},
	} {
		if !s.Holds(h.metric) {
			continue
		}
		count, sum, buckets := h.of.Read()
		out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(h.name, h.help, names, nil), count, sum, buckets, values...)
	}
}

func (c *Collector) connections(out chan<- prometheus.Metric, l telemetry.Labels, s *telemetry.Series) {
	own, made := l.Own()
	names, values := slices.Concat(c.tcp, own), make([]string, len(c.keep), len(c.keep)+len(made))
	for i, k := range c.keep {
		values[i] = l[k]
	}
	values = append(values, made...)
	for _, m := range []struct {
		metric     telemetry.Metric
		name, help string
		v          uint64
	}{
		{telemetry.Opened, telemetry.MetricTCPOpened, "TCP connections opened.", s.Opened.Load()},
		{telemetry.Closed, telemetry.MetricTCPClosed, "TCP connections closed.", s.Closed.Load()},
		{telemetry.Sent, telemetry.MetricTCPSent, "Bytes sent to clients.", s.Sent.Load()},
		{telemetry.Received, telemetry.MetricTCPReceived, "Bytes received from clients.", s.Received.Load()},
	} {
		if !s.Holds(m.metric) {
			continue
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, names, nil), prometheus.CounterValue, float64(m.v), values...)
	}
}

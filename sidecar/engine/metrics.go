package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector exports the engine's own state.
type collector struct{ e *Engine }

// Describe implements prometheus.Collector; what there is depends on what happened.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	e := c.e
	send := func(name, help string, kind prometheus.ValueType, value float64) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), kind, value)
	}
	status := e.client.Status()
	connected := 0.0
	if status.Connected {
		connected = 1
	}
	info := prometheus.NewDesc("heddle_proxy_build_info", "1; the labels say what runs.", []string{"version"}, nil)
	out <- prometheus.MustNewConstMetric(info, prometheus.GaugeValue, 1, e.options.Node.Version)
	send("heddle_proxy_xds_connected", "Whether the control plane is connected.", prometheus.GaugeValue, connected)
	send("heddle_proxy_config_swaps_total", "Configurations put in force.", prometheus.CounterValue, float64(e.sink.swaps.Load()))
	if at := e.sink.swapped.Load(); at != 0 {
		send("heddle_proxy_config_age_seconds", "Time since the configuration in force was put there.", prometheus.GaugeValue,
			time.Since(time.Unix(0, at)).Seconds())
	}
	if cert := e.options.Identity.Certificate(); cert != nil {
		send("heddle_proxy_certificate_expiry_timestamp_seconds", "When the workload's certificate expires.", prometheus.GaugeValue,
			float64(cert.Leaf.NotAfter.Unix()))
	}
	send("heddle_proxy_connections_open", "Open downstream connections.", prometheus.GaugeValue, float64(e.manager.Open()))
	send("heddle_proxy_xds_ignored_fields_total", "Fields of a foreign control plane's resources that are not honoured, and need not be.", prometheus.CounterValue, float64(e.sink.ignored()))
	send("heddle_proxy_listener_addresses_unbound", "Addresses of listeners that could not be bound; they are tried again.", prometheus.GaugeValue, float64(e.sink.unbound.Load().len()))
	overloaded := 0.0
	if e.pressure.full.Load() {
		overloaded = 1
	}
	send("heddle_proxy_overloaded", "Whether new requests are refused because memory is full.", prometheus.GaugeValue, overloaded)
	c.names(send)
	refusals := prometheus.NewDesc("heddle_proxy_xds_refusals_total", "Responses answered with a NACK.", []string{"type"}, nil)
	refused := prometheus.NewDesc("heddle_proxy_xds_refused_resources", "Resources of the last response that were refused.", []string{"type"}, nil)
	for typ, t := range status.Types {
		out <- prometheus.MustNewConstMetric(refusals, prometheus.CounterValue, float64(t.Refusals), typ)
		out <- prometheus.MustNewConstMetric(refused, prometheus.GaugeValue, float64(len(t.Refused)), typ)
	}
}

// names exports what became of DNS questions.
func (c *collector) names(send func(name, help string, kind prometheus.ValueType, value float64)) {
	if c.e.resolver == nil {
		return
	}
	stats := c.e.resolver.Stats()
	count := func(name, help string, n int64) {
		send("heddle_proxy_dns_"+name+"_total", help, prometheus.CounterValue, float64(n))
	}
	count("requests", "DNS questions of the pod.", stats.Requests)
	count("lookups", "DNS questions about the hosts of clusters.", stats.Lookups)
	count("mesh_answers", "DNS questions answered with the mesh's own names.", stats.FromTable)
	count("cache_hits", "DNS questions, those of clusters too, answered with what a server had said before.", stats.FromCache)
	count("malformed", "DNS messages that are no proper questions.", stats.Malformed)
	count("refused", "DNS questions refused because too many were waiting.", stats.Refused)
	count("upstream_requests", "DNS questions sent to the pod's servers, those of clusters too; each try counts.", stats.Forwarded)
	count("upstream_failures", "DNS questions sent to the pod's servers that were not answered in time.", stats.Failures)
	send("heddle_proxy_dns_cached", "DNS answers that are remembered.", prometheus.GaugeValue, float64(stats.Cached))
	send("heddle_proxy_dns_names", "Names that the mesh has told of.", prometheus.GaugeValue, float64(c.e.store.Load().Names.Len()))
}

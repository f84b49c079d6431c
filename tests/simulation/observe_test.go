package simulation

import (
	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// observe notes what a proxy reports of traffic that came by a listener, as the client's or the server's: by its own recorder.
func (j *journey) observe(via *exchange.Via, http bool) {
	side := "client"
	if via.Direction == exchange.Inbound {
		side = "server"
	}
	if len(via.AccessLog) > 0 {
		j.say("logs=%s", side)
	}
	for _, l := range via.AccessLog {
		j.say("format=%s:%.12s", side, l.Text)
	}
	if t := via.Tracing; t != nil && http {
		j.say("traces=%s@%g%%", side, float64(t.Sampling)/100)
	}
	r, c := telemetry.New(telemetry.Options{}), &exchange.Connection{Via: via}
	if http {
		x := &exchange.Exchange{}
		x.Reset(c)
		x.Protocol = exchange.HTTP1
		r.End(x)
	} else {
		r.Opened(c)
	}
	names := telemetry.LabelNames()
	r.Each(func(labels telemetry.Labels, s *telemetry.Series) {
		for i, metric := range wire.Metrics() {
			if !s.Holds(telemetry.Metric(1 << i)) {
				continue
			}
			j.say("counts=%s:%s", side, metric)
			for k, value := range labels {
				if value == "" {
					j.say("without=%s:%s:%s", side, metric, names[k])
				}
			}
		}
	})
}

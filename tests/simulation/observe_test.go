package simulation

import (
	"cmp"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
)

// observe notes what a proxy reports of traffic that came by a listener, as the client's or the server's: by its own recorder.
func (j *journey) observe(via *exchange.Via, http bool) {
	side := sideOf(via)
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
			made, values := labels.Own()
			for k, name := range made {
				j.say("with=%s:%s:%s=%s", side, metric, name, values[k])
			}
			for k, value := range labels.Values() {
				if value == "" {
					j.say("without=%s:%s:%s", side, metric, names[k])
				}
			}
		}
	})
}

func sideOf(via *exchange.Via) string {
	if via.Direction == exchange.Inbound {
		return "server"
	}
	return "client"
}

// adds notes what a proxy adds to the heads of requests and responses.
func (j *journey) adds(via *exchange.Via, h *config.HTTP, vhost *route.VirtualHost, r *route.Route) {
	side := sideOf(via)
	if !h.KeepServer {
		j.say("adds=%s:server:%s", side, cmp.Or(h.ServerName, "envoy"))
	}
	for name, said := range map[string]bool{"x-request-id": h.RequestID, "x-envoy-attempt-count": vhost != nil && vhost.AttemptCount, "x-envoy-*": !h.Quiet, "x-forwarded-port": h.UseRemoteAddress && h.TellPort, "x-forwarded-host": r != nil && r.TellHost} {
		if said {
			j.say("adds=%s:%s", side, name)
		}
	}
	cert := map[config.ForwardCert]string{config.Sanitize: "none", config.ForwardOnly: "theirs", config.AppendForward: "appended", config.SanitizeSet: "own", config.AlwaysForwardOnly: "any"}[h.ForwardCert]
	j.say("certificates=%s:%s", side, cert)
	for name, said := range map[string]bool{"subject": h.CertSubject, "uri": h.CertURI, "dns": h.CertDNS, "cert": h.CertPEM} {
		if said {
			j.say("certificates=%s:%s", side, name)
		}
	}
}

package simulation

import (
	"fmt"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/outlier"
)

// policy notes what a route says beside where.
func (j *journey) policy(r *route.Route) {
	if r.Timeout > 0 {
		j.say("timeout=%s", r.Timeout)
	}
	if r.Retry != nil && r.Retry.Attempts > 0 {
		j.say("retries=%d", r.Retry.Attempts)
		if r.Retry.PerTry > 0 {
			j.say("per-try=%s", r.Retry.PerTry)
		}
		if r.Retry.OtherHost {
			j.say("other-host")
		}
		if r.Retry.PriorityEvery > 0 {
			j.say("other-locality")
		}
		j.retries(r.Retry)
	} else {
		j.say("no-retries")
	}
	for _, mirror := range r.Mirrors {
		j.say("mirror=%s@%.0f%%", mirror.Cluster, float64(mirror.Fraction)/10_000)
	}
}

// inbound notes what a route of the server's proxy says.
func (j *journey) inbound(r *route.Route) {
	if r.Timeout > 0 {
		j.say("inbound-timeout=%s", r.Timeout)
	}
	if r.Retry == nil || r.Retry.Attempts == 0 {
		j.say("no-inbound-retries")
		return
	}
	j.say("inbound-retries=%d", r.Retry.Attempts)
	for on, name := range conditions {
		if r.Retry.On&on != 0 {
			j.say("inbound-on=%s", name)
		}
	}
}

// conditions are the names that retryOn gives the conditions of retries.
var conditions = map[route.RetryOn]string{
	route.On5xx: "5xx", route.OnGatewayError: "gateway-error", route.OnReset: "reset", route.OnResetBeforeRequest: "reset-before-request",
	route.OnConnectFailure: "connect-failure", route.OnRefusedStream: "refused-stream", route.OnRetriable4xx: "retriable-4xx",
	route.OnGRPCCancelled: "cancelled", route.OnGRPCUnavailable: "unavailable",
}

// retries notes when a request is sent again.
func (j *journey) retries(r *route.Retry) {
	for on, name := range conditions {
		if r.On&on != 0 {
			j.say("on=%s", name)
		}
	}
	for _, code := range r.Codes {
		j.say("on=%d", code)
	}
	if r.Base > 0 {
		j.say("backoff=%s", r.Base)
	} else {
		j.say("backoff=%s", 25*time.Millisecond)
	}
}

// cluster notes policies that have no other effect here.
func (j *journey) cluster(c *upstream.Config) {
	if strings.HasPrefix(c.Info.Name, "inbound|") || c.Info.Name == wire.ClusterInboundPassthrough {
		j.limits("inbound-", &c.Limits)
		j.say("inbound-connect=%s", c.ConnectTimeout)
		return
	}
	j.say("cluster=%s", c.Info.Name)
	j.say("balancer=%s", [...]string{"least-request", "round-robin", "random", "passthrough", "ring-hash", "maglev"}[c.Balancer])
	if c.Hashing.Size > 0 {
		j.say("table=%d", c.Hashing.Size)
	}
	for _, s := range c.Sockets {
		if s.Proxy != upstream.NoProxyHeader {
			j.say("proxy-protocol=v%d", s.Proxy)
		}
	}
	if c.MaxDuration > 0 {
		j.say("age=%s", c.MaxDuration)
	}
	if c.Ping.Interval > 0 {
		j.say("ping=%s,%s", c.Ping.Interval, c.Ping.Timeout)
	}
	if k := c.Keepalive; k.Enable {
		j.say("keepalive=%d,%s,%s", k.Count, k.Idle, k.Interval)
	}
	if w := c.Warmup; w != nil {
		j.say("warmup=%s", w.Window)
		j.say("warms=%g%%,%g", w.Least*100, w.Aggression)
	}
	if c.Outlier != nil {
		j.outlier(c.Outlier, c.Panic)
		for _, code := range c.Errors {
			j.say("error=%d", code)
		}
	}
	j.limits("", &c.Limits)
	if k := c.Keepalive; k.Enable {
		j.say("keepalive=%d,%s,%s", k.Count, k.Idle, k.Interval)
	}
	if j.say("connect=%s", c.ConnectTimeout); c.IdleTimeout == 0 {
		j.say("idle=%s", time.Hour)
	} else {
		j.say("idle=%s", c.IdleTimeout)
	}
}

// outlier notes when an endpoint is left alone.
func (j *journey) outlier(o *outlier.Config, panics uint32) {
	j.say("outlier=%d", o.Consecutive5xx)
	if o.ConsecutiveGateway > 0 {
		j.say("gateway-errors=%d", o.ConsecutiveGateway)
	}
	if o.SplitLocal {
		j.say("local-errors=%d", o.ConsecutiveLocal)
	}
	j.say("interval=%s", o.Interval)
	j.say("ejection=%s", o.BaseEjection)
	j.say("ejects=%d%%", o.MaxEjectionPercent)
	if panics > 0 {
		j.say("panic=%d%%", panics)
	}
}

// limits notes how much a cluster takes at once.
func (j *journey) limits(prefix string, l *upstream.Limits) {
	for name, n := range map[string]upstream.Limit{
		"connections": l.Connections, "pending": l.Pending, "requests": l.Requests, "retrying": l.Retries,
		"per-connection": upstream.Limit(l.RequestsPerConnection), "streams": upstream.Limit(l.Streams),
	} {
		if n > 0 {
			j.say("%s%s=%v", prefix, name, n)
		}
	}
	if b := l.Budget; b != nil {
		if text := fmt.Sprintf("%sbudget=%g%%,%d", prefix, b.Percent, b.Min); b.Interval > 0 {
			j.say("%s,%v", text, b.Interval)
		} else {
			j.say("%s", text)
		}
	}
}

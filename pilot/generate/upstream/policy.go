package upstream

import (
	"cmp"
	"strconv"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	upstreams "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	xdstype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const (
	dnsRefresh     = 60 * time.Second
	httpOptionsKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

// applyBalancer says how to choose an endpoint.
func applyBalancer(c *cluster.Cluster, lb model.LoadBalancer) {
	if c.GetType() == cluster.Cluster_ORIGINAL_DST {
		c.LbPolicy = cluster.Cluster_CLUSTER_PROVIDED
		return
	}
	switch lb.Algorithm {
	case model.RoundRobin:
		c.LbPolicy = cluster.Cluster_ROUND_ROBIN
		if w := lb.Warmup; w != nil {
			c.LbConfig = &cluster.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &cluster.Cluster_RoundRobinLbConfig{SlowStartConfig: slowStart(w)}}
		}
	case model.Random:
		c.LbPolicy = cluster.Cluster_RANDOM
	case model.RingHash:
		c.LbPolicy = cluster.Cluster_RING_HASH
		c.LbConfig = &cluster.Cluster_RingHashLbConfig_{RingHashLbConfig: &cluster.Cluster_RingHashLbConfig{MinimumRingSize: message.U64(lb.TableSize)}}
	case model.Maglev:
		c.LbPolicy = cluster.Cluster_MAGLEV
		c.LbConfig = &cluster.Cluster_MaglevLbConfig_{MaglevLbConfig: &cluster.Cluster_MaglevLbConfig{TableSize: message.U64(lb.TableSize)}}
	default:
		c.LbPolicy = cluster.Cluster_LEAST_REQUEST
		if w := lb.Warmup; w != nil {
			c.LbConfig = &cluster.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &cluster.Cluster_LeastRequestLbConfig{SlowStartConfig: slowStart(w)}}
		}
	}
}

// slowStart has new endpoints take on traffic by and by. Envoy demands a name under which its own configuration could change the aggression.
func slowStart(w *model.Warmup) *cluster.Cluster_SlowStartConfig {
	return &cluster.Cluster_SlowStartConfig{
		SlowStartWindow: message.Duration(w.Duration), MinWeightPercent: &xdstype.Percent{Value: w.MinimumPercent},
		Aggression: &core.RuntimeDouble{DefaultValue: w.Aggression, RuntimeKey: "upstream.slow_start_aggression"},
	}
}

// applyPool says how many connections and requests there may be, and how connections are kept.
func applyPool(c *cluster.Cluster, pool model.ConnectionPool, byDefault *model.Keepalive) {
	c.CircuitBreakers = Breakers(pool)
	if byDefault == nil && pool.Keepalive == nil {
		return
	}
	k := &core.TcpKeepalive{}
	for _, keep := range []*model.Keepalive{byDefault, pool.Keepalive} { // the latter word counts, each number by itself, as in Istio
		if keep != nil {
			setKeepalive(k, keep)
		}
	}
	c.UpstreamConnectionOptions = &cluster.UpstreamConnectionOptions{TcpKeepalive: k}
}

// setKeepalive sets what keep says. xDS counts whole seconds; none would be refused by the system.
func setKeepalive(k *core.TcpKeepalive, keep *model.Keepalive) {
	if keep.Probes != 0 {
		k.KeepaliveProbes = message.U32(keep.Probes)
	}
	if s := uint32(keep.Time / time.Second); s != 0 {
		k.KeepaliveTime = message.U32(s)
	}
	if s := uint32(keep.Interval / time.Second); s != 0 {
		k.KeepaliveInterval = message.U32(s)
	}
}

// Limit puts a cluster of the workload's own application under limits.
func Limit(c *cluster.Cluster, pool model.ConnectionPool) { applyPool(c, pool, nil) }

// protocols says which HTTP the cluster speaks.
func (in Cluster) protocols() ProtocolOptions {
	pool := in.InForce().ConnectionPool
	var errors []uint32
	if o := in.InForce().Outlier; o != nil {
		errors = o.ErrorCodes
	}
	return ProtocolOptions{
		Errors:     errors,
		Downstream: in.detects() || pool.UseClientProtocol,
		HTTP2:      in.speaksHTTP2(),
		HostSNI:    in.hostSNI() || in.named() && in.proves(),
		HostSAN:    in.named() && in.proves(),
		Pool:       pool,
	}
}

// ProtocolOptions is which HTTP a cluster speaks.
type ProtocolOptions struct {
	Downstream bool // whatever the client speaks
	HTTP2      bool
	HostSNI    bool     // the server's name is the host that a request is for
	HostSAN    bool     // and what it has to prove
	Errors     []uint32 // statuses that outlier detection takes for errors; nil: 5xx
	Pool       model.ConnectionPool
}

// HTTPOptions returns nil where everything is the default: HTTP/1.1.
func HTTPOptions(o ProtocolOptions) map[string]*anypb.Any {
	options := &upstreams.HttpProtocolOptions{CommonHttpProtocolOptions: commonOptions(o.Pool)}
	if o.HostSNI || o.HostSAN {
		options.UpstreamHttpProtocolOptions = &core.UpstreamHttpProtocolOptions{AutoSni: o.HostSNI, AutoSanValidation: o.HostSAN}
	}
	if len(o.Errors) > 0 {
		options.OutlierDetection = &upstreams.HttpProtocolOptions_OutlierDetection{ErrorMatcher: anyStatus(o.Errors)}
	}
	h2 := &core.Http2ProtocolOptions{}
	if o.Pool.MaxConcurrentStreams != 0 {
		h2.MaxConcurrentStreams = message.U32(o.Pool.MaxConcurrentStreams)
	}
	if o.Pool.PingInterval != 0 {
		h2.ConnectionKeepalive = &core.KeepaliveSettings{Interval: message.Duration(o.Pool.PingInterval), Timeout: message.Duration(o.Pool.PingTimeout)}
	}
	switch {
	case o.Downstream:
		options.UpstreamProtocolOptions = &upstreams.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &upstreams.HttpProtocolOptions_UseDownstreamHttpConfig{
				HttpProtocolOptions: &core.Http1ProtocolOptions{}, Http2ProtocolOptions: h2,
			},
		}
	case o.HTTP2:
		options.UpstreamProtocolOptions = explicit(&upstreams.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2},
		})
	case options.CommonHttpProtocolOptions == nil && options.UpstreamHttpProtocolOptions == nil && options.OutlierDetection == nil:
		return nil
	default:
		options.UpstreamProtocolOptions = explicit(&upstreams.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &core.Http1ProtocolOptions{}},
		})
	}
	return map[string]*anypb.Any{httpOptionsKey: message.Any(options)}
}

// anyStatus holds for responses of any of the statuses. An or_match has at least two rules.
func anyStatus(codes []uint32) *matcher.MatchPredicate {
	var rules []*matcher.MatchPredicate
	for _, code := range codes {
		status := &route.HeaderMatcher{Name: ":status", HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{
			StringMatch: message.String(model.StringMatch{Value: strconv.FormatUint(uint64(code), 10)})}}
		rules = append(rules, &matcher.MatchPredicate{Rule: &matcher.MatchPredicate_HttpResponseHeadersMatch{
			HttpResponseHeadersMatch: &matcher.HttpHeadersMatch{Headers: []*route.HeaderMatcher{status}}}})
	}
	if len(rules) == 1 {
		return rules[0]
	}
	return &matcher.MatchPredicate{Rule: &matcher.MatchPredicate_OrMatch{OrMatch: &matcher.MatchPredicate_MatchSet{Rules: rules}}}
}

func explicit(c *upstreams.HttpProtocolOptions_ExplicitHttpConfig) *upstreams.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &upstreams.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: c}
}

// commonOptions are those of all versions of HTTP. What says when connections are idle for TCP does so for HTTP, too, where nothing else does.
func commonOptions(pool model.ConnectionPool) *core.HttpProtocolOptions {
	idle := cmp.Or(pool.HTTPIdleTimeout, pool.TCPIdleTimeout)
	if idle == nil && pool.MaxRequestsPerConnection == 0 && pool.MaxConnectionDuration == 0 {
		return nil
	}
	o := &core.HttpProtocolOptions{IdleTimeout: message.Optional(idle), MaxConnectionDuration: message.Nonzero(pool.MaxConnectionDuration)}
	if pool.MaxRequestsPerConnection != 0 {
		o.MaxRequestsPerConnection = message.U32(pool.MaxRequestsPerConnection)
	}
	return o
}

func applyRetryBudget(t *cluster.CircuitBreakers_Thresholds, pool model.ConnectionPool) {
	if pool.RetryBudgetPercent == nil {
		return
	}
	t.RetryBudget = &cluster.CircuitBreakers_Thresholds_RetryBudget{
		BudgetPercent: &xdstype.Percent{Value: *pool.RetryBudgetPercent}, MinRetryConcurrency: message.U32(pool.RetryBudgetMinimum),
		BudgetInterval: message.Nonzero(pool.RetryBudgetInterval),
	}
}

// applyOutlier says which endpoints to set aside. Success rates are never judged.
func applyOutlier(c *cluster.Cluster, o *model.OutlierDetection) {
	c.CommonLbConfig.HealthyPanicThreshold = &xdstype.Percent{}
	if o == nil {
		return
	}
	c.CommonLbConfig.HealthyPanicThreshold.Value = float64(o.MinHealthPercent)
	enforce := func(n uint32) uint32 {
		if n == 0 {
			return 0
		}
		return 100
	}
	c.OutlierDetection = &cluster.OutlierDetection{
		Consecutive_5Xx: message.U32(o.Consecutive5xx), EnforcingConsecutive_5Xx: message.U32(enforce(o.Consecutive5xx)),
		ConsecutiveGatewayFailure:          message.U32(o.ConsecutiveGateway),
		EnforcingConsecutiveGatewayFailure: message.U32(enforce(o.ConsecutiveGateway)),
		EnforcingSuccessRate:               message.U32(0),
		Interval:                           message.Nonzero(o.Interval), BaseEjectionTime: message.Nonzero(o.BaseEjection),
		MaxEjectionPercent: message.U32(o.MaxEjectionPercent),
	}
	if o.SplitLocalOrigin {
		c.OutlierDetection.SplitExternalLocalOriginErrors = true
		c.OutlierDetection.ConsecutiveLocalOriginFailure = message.U32(o.ConsecutiveLocalOrigin)
		c.OutlierDetection.EnforcingConsecutiveLocalOriginFailure = message.U32(enforce(o.ConsecutiveLocalOrigin))
		c.OutlierDetection.EnforcingLocalOriginSuccessRate = message.U32(0)
	}
}

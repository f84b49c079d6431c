package upstream

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreams "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	xdstype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

const (
	dnsRefresh         = 60 * time.Second
	defaultRingSize    = 1024
	defaultMaglevTable = 65537
	httpOptionsKey     = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
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
		if warm := slowStart(lb.Warmup); warm != nil {
			c.LbConfig = &cluster.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &cluster.Cluster_RoundRobinLbConfig{SlowStartConfig: warm}}
		}
	case model.Random:
		c.LbPolicy = cluster.Cluster_RANDOM
	case model.RingHash:
		c.LbPolicy = cluster.Cluster_RING_HASH
		c.LbConfig = ringHash(lb.Hash)
	case model.Maglev:
		c.LbPolicy = cluster.Cluster_MAGLEV
		c.LbConfig = maglev(lb.Hash)
	default:
		c.LbPolicy = cluster.Cluster_LEAST_REQUEST
		if warm := slowStart(lb.Warmup); warm != nil {
			c.LbConfig = &cluster.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &cluster.Cluster_LeastRequestLbConfig{SlowStartConfig: warm}}
		}
	}
}

func slowStart(w *model.Warmup) *cluster.Cluster_SlowStartConfig {
	if w == nil {
		return nil
	}
	return &cluster.Cluster_SlowStartConfig{
		SlowStartWindow:  message.Duration(w.Duration),
		Aggression:       &core.RuntimeDouble{DefaultValue: w.Aggression, RuntimeKey: "slow_start.aggression"},
		MinWeightPercent: &xdstype.Percent{Value: w.MinimumPercent},
	}
}

func ringHash(hash *model.HashPolicy) *cluster.Cluster_RingHashLbConfig_ {
	size := uint64(defaultRingSize)
	if hash != nil && hash.MinRingSize != 0 {
		size = hash.MinRingSize
	}
	return &cluster.Cluster_RingHashLbConfig_{RingHashLbConfig: &cluster.Cluster_RingHashLbConfig{MinimumRingSize: message.U64(size)}}
}

func maglev(hash *model.HashPolicy) *cluster.Cluster_MaglevLbConfig_ {
	size := uint64(defaultMaglevTable)
	if hash != nil && hash.TableSize != 0 {
		size = hash.TableSize
	}
	return &cluster.Cluster_MaglevLbConfig_{MaglevLbConfig: &cluster.Cluster_MaglevLbConfig{TableSize: message.U64(size)}}
}

// applyPool says how many connections and requests there may be, and how they are made.
func applyPool(c *cluster.Cluster, pool model.ConnectionPool, protocol model.Protocol) {
	c.CircuitBreakers = Breakers(pool)
	if pool.KeepaliveProbes != 0 || pool.KeepaliveTime != 0 || pool.KeepaliveInterval != 0 {
		k := &core.TcpKeepalive{}
		if pool.KeepaliveProbes != 0 {
			k.KeepaliveProbes = message.U32(pool.KeepaliveProbes)
		}
		if pool.KeepaliveTime != 0 {
			k.KeepaliveTime = message.U32(uint32(pool.KeepaliveTime / time.Second))
		}
		if pool.KeepaliveInterval != 0 {
			k.KeepaliveInterval = message.U32(uint32(pool.KeepaliveInterval / time.Second))
		}
		c.UpstreamConnectionOptions = &cluster.UpstreamConnectionOptions{TcpKeepalive: k}
	}
	c.TypedExtensionProtocolOptions = HTTPOptions(ProtocolOptions{
		Downstream: protocol == model.Unknown || pool.UseClientProtocol,
		HTTP2:      protocol.IsHTTP2() || pool.UpgradeHTTP2 && protocol.IsHTTP(),
		Pool:       pool,
	})
}

// ProtocolOptions is which HTTP a cluster speaks.
type ProtocolOptions struct {
	Downstream bool // whatever the client speaks
	HTTP2      bool
	Pool       model.ConnectionPool
}

// HTTPOptions returns nil where everything is the default: HTTP/1.1.
func HTTPOptions(o ProtocolOptions) map[string]*anypb.Any {
	options := &upstreams.HttpProtocolOptions{CommonHttpProtocolOptions: commonOptions(o.Pool)}
	h2 := &core.Http2ProtocolOptions{}
	if o.Pool.MaxConcurrentStreams != 0 {
		h2.MaxConcurrentStreams = message.U32(o.Pool.MaxConcurrentStreams)
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
	case options.CommonHttpProtocolOptions == nil:
		return nil
	default:
		options.UpstreamProtocolOptions = explicit(&upstreams.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreams.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &core.Http1ProtocolOptions{}},
		})
	}
	return map[string]*anypb.Any{httpOptionsKey: message.Any(options)}
}

func explicit(c *upstreams.HttpProtocolOptions_ExplicitHttpConfig) *upstreams.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &upstreams.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: c}
}

func commonOptions(pool model.ConnectionPool) *core.HttpProtocolOptions {
	if pool.HTTPIdleTimeout == nil && pool.MaxRequestsPerConnection == 0 && pool.MaxConnectionDuration == 0 {
		return nil
	}
	o := &core.HttpProtocolOptions{IdleTimeout: message.Optional(pool.HTTPIdleTimeout), MaxConnectionDuration: message.Nonzero(pool.MaxConnectionDuration)}
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

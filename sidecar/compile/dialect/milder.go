package dialect

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	upstreamhttp "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/sidecar/compile/conditions"
)

// pace are the messages that say how evenly and how often hosts are asked, judged and tried again: what a newer version adds to them can be left out. What it
// adds to any other may be whom to trust or where to go.
var pace = map[protoreflect.FullName]bool{
	"envoy.config.cluster.v3.CircuitBreakers":                                 true,
	"envoy.config.cluster.v3.CircuitBreakers.Thresholds":                      true,
	"envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget":          true,
	"envoy.config.cluster.v3.OutlierDetection":                                true,
	"envoy.config.cluster.v3.Cluster.RoundRobinLbConfig":                      true,
	"envoy.config.cluster.v3.Cluster.LeastRequestLbConfig":                    true,
	"envoy.config.cluster.v3.Cluster.RingHashLbConfig":                        true,
	"envoy.config.cluster.v3.Cluster.MaglevLbConfig":                          true,
	"envoy.config.cluster.v3.Cluster.SlowStartConfig":                         true,
	"envoy.config.cluster.v3.UpstreamConnectionOptions":                       true,
	"envoy.config.core.v3.HealthCheck":                                        true,
	"envoy.config.core.v3.KeepaliveSettings":                                  true,
	"envoy.config.core.v3.TcpKeepalive":                                       true,
	"envoy.config.route.v3.RetryPolicy":                                       true,
	"envoy.config.route.v3.RetryPolicy.RetryBackOff":                          true,
	"envoy.config.route.v3.Decorator":                                         true,
	"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.OutlierDetection": true,
}

// soften makes of a foreign control plane's message one that is honoured, where only values are not, or fields that are not even known, and need not be.
func (c walk) soften(m protoreflect.Message) {
	*c.ignored += milden(m)
	if len(m.GetUnknown()) > 0 && pace[m.Descriptor().FullName()] {
		m.SetUnknown(nil)
		*c.ignored++
	}
}

// milden leaves out of a foreign control plane's message values that are not honoured, though their fields are, and need not be. It returns how many.
func milden(m protoreflect.Message) int {
	switch m := m.Interface().(type) {
	case *clusterv3.Cluster:
		return firstCheck(m)
	case *clusterv3.CircuitBreakers:
		return defaultPriority(m)
	case *clusterv3.OutlierDetection:
		return outliers(m)
	case *clusterv3.Cluster_RingHashLbConfig:
		return ring(m)
	case *routev3.RetryPolicy:
		return retries(m)
	case *upstreamhttp.HttpProtocolOptions:
		return upstreamBounds(m)
	}
	return 0
}

// firstCheck leaves one health check: hosts are asked in one way.
func firstCheck(m *clusterv3.Cluster) int {
	most := min(len(m.GetHealthChecks()), 1)
	left := len(m.GetHealthChecks()) - most
	m.HealthChecks = m.GetHealthChecks()[:most]
	return left
}

// defaultPriority leaves the limits of default priority, which all requests have here.
func defaultPriority(m *clusterv3.CircuitBreakers) int {
	var kept []*clusterv3.CircuitBreakers_Thresholds
	for _, t := range m.GetThresholds() {
		if t.GetPriority() == corev3.RoutingPriority_DEFAULT {
			kept = append(kept, t)
		}
	}
	left := len(m.GetThresholds()) - len(kept)
	m.Thresholds = kept
	return left
}

// outliers has ejection for series of failures happen always or never, and that by statistics, Envoy's default, never.
func outliers(m *clusterv3.OutlierDetection) (left int) {
	for _, share := range []*wrapperspb.UInt32Value{m.GetEnforcingConsecutive_5Xx(), m.GetEnforcingConsecutiveGatewayFailure(), m.GetEnforcingConsecutiveLocalOriginFailure()} {
		if share.GetValue()%100 != 0 {
			share.Value = 100
			left++
		}
	}
	local := uint32(0) // Envoy does not look at it unless these failures count on their own
	if m.GetSplitExternalLocalOriginErrors() {
		local = 100
	}
	for _, by := range []struct {
		share  **wrapperspb.UInt32Value
		absent uint32
	}{{&m.EnforcingSuccessRate, 100}, {&m.EnforcingLocalOriginSuccessRate, local}, {&m.EnforcingFailurePercentage, 0}, {&m.EnforcingFailurePercentageLocalOrigin, 0}} {
		if share := *by.share; share.GetValue() != 0 || share == nil && by.absent != 0 {
			left++
		}
		*by.share = nil
	}
	return left
}

// ring has rings be hashed as they are here: where a key leads is a control plane's choice in no way.
func ring(m *clusterv3.Cluster_RingHashLbConfig) int {
	if m.GetHashFunction() == clusterv3.Cluster_RingHashLbConfig_XX_HASH {
		return 0
	}
	m.HashFunction = clusterv3.Cluster_RingHashLbConfig_XX_HASH
	return 1
}

// retries leaves what is known of when, and with which hosts, to try again.
func retries(m *routev3.RetryPolicy) (left int) {
	var words []string
	for _, word := range strings.Split(m.GetRetryOn(), ",") {
		if conditions.IsRetryOn(strings.TrimSpace(word)) {
			words = append(words, word)
		} else {
			left++
		}
	}
	m.RetryOn = strings.Join(words, ",")
	var kept []*routev3.RetryPolicy_RetryHostPredicate
	for _, p := range m.GetRetryHostPredicate() {
		if p.GetName() == conditions.OtherHosts {
			kept = append(kept, p)
		}
	}
	left += len(m.GetRetryHostPredicate()) - len(kept)
	m.RetryHostPredicate = kept
	if p := m.GetRetryPriority(); p != nil && p.GetName() != conditions.OtherPriorities {
		m.RetryPriority = nil
		left++
	}
	return left
}

// upstreamBounds leaves out what bounds streams and fields of upstreams only in Envoy.
func upstreamBounds(m *upstreamhttp.HttpProtocolOptions) (left int) {
	common := m.GetCommonHttpProtocolOptions()
	if common.GetMaxStreamDuration() != nil {
		common.MaxStreamDuration = nil
		left++
	}
	if common.GetHeadersWithUnderscoresAction() != 0 {
		common.HeadersWithUnderscoresAction = 0
		left++
	}
	return left
}

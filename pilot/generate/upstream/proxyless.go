package upstream

import (
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/generate/transport"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// Proxyless reports whether gRPC's xDS client can reach the cluster: it takes its endpoints from EDS alone.
func (in Cluster) Proxyless() bool { return in.WantsEndpoints() }

// makeProxyless says how gRPC's xDS client reaches a service port: with what gRFC A27, A29, A32, A42 and A50 know, and nothing more, since it refuses a
// cluster with a socket for each endpoint. So it speaks mesh mTLS only where a DestinationRule says ISTIO_MUTUAL.
func makeProxyless(in Cluster) *wire.Resource {
	c := &cluster.Cluster{Name: in.Name(), CommonLbConfig: &cluster.Cluster_CommonLbConfig{},
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS}, EdsClusterConfig: eds(in.Name())}
	balanceProxyless(c, in.InForce().LoadBalancer)
	if limit := in.InForce().ConnectionPool.MaxRequests; limit != 0 {
		c.CircuitBreakers = &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{{MaxRequests: message.U32(limit)}}}
	}
	applyOutlier(c, in.InForce().Outlier)
	c.CommonLbConfig = nil
	if rule := in.InForce().TLS; rule != nil && rule.Mode == model.TLSIstioMutual {
		c.TransportSocket = tlsTransport(&tls.UpstreamTlsContext{CommonTlsContext: transport.Provided(in.accepted(rule))})
	}
	return message.Resource(wire.TypeCluster, c.Name, c)
}

// balanceProxyless says how gRPC chooses an endpoint. Of the balancers that hash it has a ring alone (gRFC A42): a key keeps its endpoint there, too.
func balanceProxyless(c *cluster.Cluster, lb model.LoadBalancer) {
	switch lb.Algorithm {
	case model.LeastRequest:
		c.LbPolicy = cluster.Cluster_LEAST_REQUEST
	case model.RingHash:
		applyBalancer(c, lb)
	case model.Maglev:
		c.LbPolicy = cluster.Cluster_RING_HASH
	}
}

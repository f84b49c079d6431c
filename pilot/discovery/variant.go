package discovery

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
)

// request is what either variant of the protocol asks.
type request struct {
	node  *core.Node
	typ   string
	nonce string
	fault *status.Status // why the last response was refused

	// Delta: a difference, and on a new stream what the client still holds.
	subscribe, unsubscribe []string
	held                   map[string]string
	// State of the world: all names; none is all for wildcard types.
	names []string
}

// response is what either variant answers.
type response struct {
	typ, nonce, version string
	resources           []*wire.Resource
	removed             []string
}

// variant is one form of the protocol on one stream.
type variant interface {
	recv() (*request, error)
	send(*response) error
	// delta reports whether differences are sent: absence of a resource then says nothing.
	delta() bool
}

// incremental is the delta variant.
type incremental struct {
	stream ads.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

func (incremental) delta() bool { return true }

func (v incremental) recv() (*request, error) {
	var q question
	if err := v.stream.RecvMsg(&q); err != nil {
		return nil, err
	}
	if q.answer != nil {
		return q.answer, nil
	}
	r := &q.message
	return &request{
		node: r.Node, typ: r.TypeUrl, nonce: r.ResponseNonce, fault: r.ErrorDetail,
		subscribe: r.ResourceNamesSubscribe, unsubscribe: r.ResourceNamesUnsubscribe, held: r.InitialResourceVersions,
	}, nil
}

func (v incremental) send(r *response) error {
	return v.stream.SendMsg(delta(r))
}

// worldly is the state-of-the-world variant.
type worldly struct {
	stream ads.AggregatedDiscoveryService_StreamAggregatedResourcesServer
}

func (worldly) delta() bool { return false }

func (v worldly) recv() (*request, error) {
	r, err := v.stream.Recv()
	if err != nil {
		return nil, err
	}
	return &request{node: r.Node, typ: r.TypeUrl, nonce: r.ResponseNonce, fault: r.ErrorDetail, names: r.ResourceNames}, nil
}

func (v worldly) send(r *response) error {
	return v.stream.SendMsg(whole(r))
}

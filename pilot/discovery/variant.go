package discovery

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ads "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/anypb"

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
	r, err := v.stream.Recv()
	if err != nil {
		return nil, err
	}
	return &request{
		node: r.Node, typ: r.TypeUrl, nonce: r.ResponseNonce, fault: r.ErrorDetail,
		subscribe: r.ResourceNamesSubscribe, unsubscribe: r.ResourceNamesUnsubscribe, held: r.InitialResourceVersions,
	}, nil
}

func (v incremental) send(r *response) error {
	out := &ads.DeltaDiscoveryResponse{
		TypeUrl: r.typ, Nonce: r.nonce, SystemVersionInfo: r.version, RemovedResources: r.removed,
		Resources: make([]*ads.Resource, 0, len(r.resources)),
	}
	for _, res := range r.resources {
		out.Resources = append(out.Resources, &ads.Resource{Name: res.Name, Version: res.Version, Resource: opaque(res)})
	}
	return v.stream.Send(out)
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
	out := &ads.DiscoveryResponse{
		TypeUrl: r.typ, Nonce: r.nonce, VersionInfo: r.version, Resources: make([]*anypb.Any, 0, len(r.resources)),
	}
	for _, res := range r.resources {
		out.Resources = append(out.Resources, opaque(res))
	}
	return v.stream.Send(out)
}

func opaque(r *wire.Resource) *anypb.Any { return &anypb.Any{TypeUrl: r.Type, Value: r.Body} }

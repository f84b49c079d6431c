package generate_test

import (
	"testing"

	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// TestNeedsEndpoints: clients dial the pods of a headless service, so that its listeners follow them, but where HTTP finds its host by name.
// A Sidecar may take that away.
func TestNeedsEndpoints(t *testing.T) {
	svc := &model.Service{Host: "db.shop.svc.cluster.local", Namespace: "shop", Resolution: model.ResolveHeadless,
		Ports: []model.ServicePort{{Number: 80, Protocol: model.HTTP}, {Number: 81, Protocol: model.HTTP}, {Number: 5432, Protocol: model.TCP}}}
	s := &model.Snapshot{Mesh: &model.Mesh{}, Services: []*model.Service{svc},
		Sidecars: []*model.Sidecar{{Egress: []*model.EgressListener{{Port: 81, Protocol: model.TCP}, {Port: 80, Protocol: model.HTTP2}}}}}
	ix := generate.NewIndex(s, nil, nil)
	for port, want := range map[uint16]bool{80: false, 81: true, 5432: true} {
		if got := ix.NeedsEndpoints(model.EndpointKey{Host: svc.Host, Namespace: "shop", Port: port}, false, false); got != want {
			t.Errorf("port %d: %t, want %t", port, got, want)
		}
	}
}

// TestGatewaysKnowTheirLike: where names lead, gateways are told of the pods behind their own Services, so that what they are told follows those.
func TestGatewaysKnowTheirLike(t *testing.T) {
	service := func(host string, selector model.Selector) *model.Service {
		return &model.Service{Host: host, Namespace: "edge", Selector: selector, Ports: []model.ServicePort{{Number: 80, Protocol: model.HTTP}}}
	}
	s := &model.Snapshot{Mesh: &model.Mesh{}, Services: []*model.Service{
		service("same", model.Selector{"app": "egress"}), service("narrower", model.Selector{"app": "egress", "zone": "a"}), service("other", model.Selector{"app": "web"}),
	}, Gateways: []*model.Gateway{{Selector: model.Selector{"app": "egress"}}, {}}}
	for _, named := range []bool{false, true} {
		if named {
			s.Services = append(s.Services, &model.Service{Host: "*.example.com", Resolution: model.ResolveNamed})
		}
		ix := generate.NewIndex(s, nil, nil)
		for host, own := range map[string]bool{"same": true, "narrower": true, "other": false} {
			if got := ix.NeedsEndpoints(model.EndpointKey{Host: host, Namespace: "edge", Port: 80}, false, false); got != (named && own) {
				t.Errorf("%s, names are looked up: %t: %t", host, named, got)
			}
		}
	}
}

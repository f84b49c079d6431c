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

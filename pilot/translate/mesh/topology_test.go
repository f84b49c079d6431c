package mesh

import (
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/pilot/model"
)

func TestOwnTopology(t *testing.T) {
	for _, c := range []struct {
		annotation, problem string
		own                 *model.Topology
	}{
		{annotation: ""},
		{annotation: "concurrency: 2"},
		{annotation: "gatewayTopology: {numTrustedProxies: 2}", own: &model.Topology{TrustedProxies: 2}},
		{annotation: `{"concurrency": 2, "gatewayTopology": {"proxyProtocol": {}, "forwardClientCertDetails": "APPEND_FORWARD"}}`,
			own: &model.Topology{ProxyProtocol: true, ForwardClientCert: "APPEND_FORWARD"}},
		{annotation: "gatewayTopology: {}", own: &model.Topology{}},
		{annotation: "gatewayTopology: {numTrusted: 2}", problem: "gatewayTopology.numTrusted: "},
		{annotation: "gatewayTopology: {numTrustedProxies: two}", problem: "gatewayTopology: invalid"},
		{annotation: "gatewayTopology: [", problem: "yaml"},
	} {
		own, problem := OwnTopology(c.annotation)
		if (own == nil) != (c.own == nil) || own != nil && *own != *c.own || (problem == "") != (c.problem == "") || !strings.Contains(problem, c.problem) {
			t.Errorf("%s: %+v, %q", c.annotation, own, problem)
		}
	}
}

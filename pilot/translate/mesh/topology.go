package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	meshapi "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// ConfigAnnotation holds on a pod a part of what the mesh's defaultConfig says, as YAML.
const ConfigAnnotation = "proxy.istio.io/config"

func topology(log *report.Log, c *meshapi.MeshConfig) model.Topology {
	said := c.GetDefaultConfig().GetGatewayTopology()
	return model.Topology{TrustedProxies: said.GetNumTrustedProxies(), ProxyProtocol: said.GetProxyProtocol() != nil,
		ForwardClientCert: forwarded(log, "gatewayTopology.forwardClientCertDetails", said.GetForwardClientCertDetails(), "SANITIZE_SET")}
}

// OwnTopology reads the gatewayTopology that a pod's annotation says. It stands for all of the mesh's, as in Istio. One that cannot be read, whole, is none, and
// problem says why.
func OwnTopology(annotation string) (own *model.Topology, problem string) {
	if !strings.Contains(annotation, "gatewayTopology") {
		return nil, ""
	}
	fields := map[string]json.RawMessage{}
	if err := yaml.Unmarshal([]byte(annotation), &fields); err != nil {
		return nil, err.Error()
	}
	said, is := fields["gatewayTopology"]
	if !is {
		return nil, ""
	}
	text, err := json.Marshal(map[string]any{"defaultConfig": map[string]any{"gatewayTopology": said}})
	if err != nil {
		return nil, err.Error()
	}
	c, problems, err := inputs.DecodeMesh(text)
	if err != nil {
		return nil, fmt.Sprintf("gatewayTopology: %v", errors.Unwrap(err))
	}
	log := &report.Log{}
	for _, p := range problems {
		log.Partialf(p.Path, "%s", p.Reason)
	}
	honoured.Check(c, "mesh", log)
	read := topology(log, c)
	for _, i := range log.Issues {
		return nil, fmt.Sprintf("%s: %s", strings.TrimPrefix(i.Path, "mesh.defaultConfig."), i.Reason)
	}
	return &read, ""
}

package security

import (
	"fmt"

	security "istio.io/api/security/v1beta1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var peerAuthenticationFields = fields.New("selector.matchLabels", "mtls.mode", "portLevelMtls.mode")

// PeerAuthentication translates one object. With errors it is STRICT, on every port.
func PeerAuthentication(o *inputs.PeerAuthentication, mesh *model.Mesh) (*model.PeerAuthentication, []report.Issue) {
	r, spec := &reader{fields.Read(o, mesh)}, o.Spec
	peerAuthenticationFields.Check(spec, "spec", &r.Log)
	out := &model.PeerAuthentication{
		From:     model.Name{Namespace: o.Namespace, Name: o.Name},
		Selector: values.Selector(&r.Log, "spec.selector.matchLabels", spec.GetSelector().GetMatchLabels()),
		Mode:     r.mode("spec.mtls.mode", spec.GetMtls().GetMode()),
	}
	if len(spec.PortLevelMtls) > 0 && out.Selector == nil {
		r.Errorf("spec.portLevelMtls", "needs a selector")
	}
	for port, m := range spec.PortLevelMtls {
		path := fmt.Sprintf("spec.portLevelMtls[%d]", port)
		n := values.Port(&r.Log, path, port)
		if mode := r.mode(path+".mode", m.GetMode()); mode != model.MTLSUnset {
			if out.Ports == nil {
				out.Ports = map[uint16]model.MTLSMode{}
			}
			out.Ports[n] = mode
		}
	}
	if r.Failed() {
		out.Mode, out.Ports = model.MTLSStrict, nil
	}
	return out, r.Issues
}

func (r *reader) mode(path string, m security.PeerAuthentication_MutualTLS_Mode) model.MTLSMode {
	switch m {
	case security.PeerAuthentication_MutualTLS_UNSET:
		return model.MTLSUnset
	case security.PeerAuthentication_MutualTLS_DISABLE:
		return model.MTLSDisable
	case security.PeerAuthentication_MutualTLS_PERMISSIVE:
		return model.MTLSPermissive
	case security.PeerAuthentication_MutualTLS_STRICT:
		return model.MTLSStrict
	}
	r.Errorf(path, "%d is unknown", m)
	return model.MTLSStrict
}

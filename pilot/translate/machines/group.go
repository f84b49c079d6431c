// Package machines translates WorkloadGroups, by which machines outside of the cluster register themselves. It is pure, and registers nobody.
package machines

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

var honoured = fields.New("metadata.{labels,annotations}", "template.{ports,labels,locality,weight,serviceAccount}",
	"probe.{initialDelaySeconds,timeoutSeconds,periodSeconds,successThreshold,failureThreshold}", "probe.httpGet.{path,port,host,scheme}",
	"probe.httpGet.httpHeaders.{name,value}", "probe.tcpSocket.{host,port}", "probe.exec.command", "probe.grpc.{port,service}")

// Kind says what becomes of each field.
func Kind() fields.Kind {
	const where = "on WorkloadEntries that machines make which connect from then on, where the mesh lets them (the setting machines)"
	return fields.Kind{Name: "WorkloadGroup", Message: &networking.WorkloadGroup{}, Honoured: honoured,
		Refused: []fields.Note{
			{Path: "template.address", Why: "each machine has its own"},
			{Path: "template.network", Why: "there is one network"},
		},
		Differs: []fields.Note{
			{Path: "{metadata,template}", Why: where},
			{Path: "template.serviceAccount", Why: "required of a group that machines register themselves by: its proof alone counts"},
		},
	}
}

// reader reads one group.
type reader struct{ fields.Reader }

// Read translates a template of WorkloadEntries: what machines may register themselves by. Nil: no machine may.
func Read(o *inputs.WorkloadGroup, mesh *model.Mesh) (*model.WorkloadGroup, []report.Issue) {
	r, t := &reader{fields.Read(o, mesh)}, o.Spec.GetTemplate()
	honoured.Check(o.Spec, "spec", &r.Log)
	if t == nil {
		r.Errorf("spec.template", "required")
	}
	for _, name := range slices.Sorted(maps.Keys(t.GetPorts())) {
		values.Port(&r.Log, "spec.template.ports["+name+"]", t.Ports[name])
	}
	r.probe(o.Spec.GetProbe())
	if r.account(t.GetServiceAccount()) && !mesh.Machines {
		r.Warnf("spec.template", "no machine registers itself by it: the mesh lets none (the setting machines)")
	}
	if t.GetServiceAccount() == "" || !mesh.Machines || r.Failed() {
		return nil, r.Issues
	}
	labels := maps.Clone(t.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, o.Spec.GetMetadata().GetLabels())
	return &model.WorkloadGroup{From: fields.From(o), UID: string(o.UID), Account: t.ServiceAccount, Labels: labels, Annotations: o.Spec.GetMetadata().GetAnnotations(),
		Ports: t.Ports, Locality: t.Locality, Weight: t.Weight, Probed: o.Spec.GetProbe() != nil}, r.Issues
}

// account judges the account whose proof machines show, and reports whether there is one.
func (r *reader) account(name string) bool {
	const path = "spec.template.serviceAccount"
	if name == "" {
		r.Warnf(path, "no machine registers itself by it: it says nobody's proof counts; name a service account")
		return false
	}
	if _, err := spiffe.New(r.Mesh.TrustDomain, r.Namespace, name); err != nil {
		r.Errorf(path, "%q is not the name of a service account", name)
		return false
	}
	return true
}

// maxProbe bounds the numbers of a probe: seconds, and results in a row.
const maxProbe = 1<<16 - 1

// probe judges how machines' applications are asked whether they are healthy.
func (r *reader) probe(p *networking.ReadinessProbe) {
	if p == nil {
		return
	}
	for _, n := range []struct {
		field string
		value int32
	}{{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds}, {"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold}} {
		if n.value < 0 || n.value > maxProbe {
			r.Errorf("spec.probe."+n.field, "%d: a number between 0, for the default, and %d expected", n.value, maxProbe)
		}
	}
	switch method := p.HealthCheckMethod.(type) {
	case *networking.ReadinessProbe_HttpGet:
		values.Port(&r.Log, "spec.probe.httpGet.port", method.HttpGet.GetPort())
		if s := method.HttpGet.GetScheme(); s != "" && !strings.EqualFold(s, "http") && !strings.EqualFold(s, "https") {
			r.Errorf("spec.probe.httpGet.scheme", "%q is neither HTTP nor HTTPS", s)
		}
	case *networking.ReadinessProbe_TcpSocket:
		values.Port(&r.Log, "spec.probe.tcpSocket.port", method.TcpSocket.GetPort())
	case *networking.ReadinessProbe_Grpc:
		values.Port(&r.Log, "spec.probe.grpc.port", method.Grpc.GetPort())
	case *networking.ReadinessProbe_Exec:
		if len(method.Exec.GetCommand()) == 0 {
			r.Errorf("spec.probe.exec.command", "required")
		}
	default:
		r.Errorf("spec.probe", "one of httpGet, tcpSocket, grpc and exec is required")
	}
}

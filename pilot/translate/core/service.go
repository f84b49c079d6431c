// Package core translates Kubernetes' own objects: Services, EndpointSlices, Pods and Nodes. It is pure.
package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// ExportAnnotation is exportTo for Services: a comma-separated list.
const ExportAnnotation = "networking.istio.io/exportTo"

// Service translates a Service.
func Service(s *corev1.Service, mesh *model.Mesh) (*model.Service, []report.Issue) {
	log := &report.Log{}
	out := &model.Service{
		Host:            values.Host(s.Name, s.Namespace, mesh.ClusterDomain),
		Name:            s.Name,
		Namespace:       s.Namespace,
		From:            model.Name{Namespace: s.Namespace, Name: s.Name},
		Created:         values.Created(s),
		Addresses:       addresses(s),
		Outer:           outer(s),
		Export:          values.Export(log, "metadata.annotations["+ExportAnnotation+"]", exportList(s), s.Namespace, mesh.ServiceExport),
		PublishNotReady: s.Spec.PublishNotReadyAddresses,
	}
	out.Locality = distribution(log, s)
	out.Session = values.Session(log, mesh, s.Labels)
	if len(s.Spec.Selector) > 0 {
		out.Selector = s.Spec.Selector
	}
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		out.Resolution, out.AliasOf = model.ResolveAlias, strings.ToLower(strings.TrimSuffix(s.Spec.ExternalName, "."))
		out.Selector = nil
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		out.Resolution, out.DualStack = model.ResolveHeadless, len(s.Spec.IPFamilies) > 1
	}
	out.Ports = slices.Grow(out.Ports, len(s.Spec.Ports))
	for i := range s.Spec.Ports {
		if p, ok := servicePort(log, i, &s.Spec.Ports[i]); ok {
			out.Ports = append(out.Ports, p)
		}
	}
	for i := range log.Issues { // a Service is there, whatever is wrong with it
		log.Issues[i].Severity = min(log.Issues[i].Severity, report.Partial)
	}
	return out, log.Issues
}

// exportList splits the annotation. Mistakes in it hide the Service rather than show it.
func exportList(s *corev1.Service) []string {
	text, ok := s.Annotations[ExportAnnotation]
	if !ok {
		return nil
	}
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// distribution reads which endpoints are preferred: the Service's own field says it before an annotation does.
func distribution(log *report.Log, s *corev1.Service) *model.LocalityPolicy {
	if d := s.Spec.TrafficDistribution; d != nil {
		return values.Distribution(log, "spec.trafficDistribution", *d)
	}
	return values.Distribution(log, "metadata.annotations["+values.DistributionAnnotation+"]", s.Annotations[values.DistributionAnnotation])
}

func addresses(s *corev1.Service) []string {
	var one [1]string
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		one[0] = s.Spec.ClusterIP
		ips = one[:]
	}
	var out []string
	for _, ip := range ips {
		if ip != "" && ip != corev1.ClusterIPNone {
			out = append(out, ip)
		}
	}
	return out
}

// outer are the addresses that lead to a Service from outside of the cluster, and from within it as well.
func outer(s *corev1.Service) []string {
	out := slices.Clone(s.Spec.ExternalIPs)
	for _, i := range s.Status.LoadBalancer.Ingress {
		if i.IP != "" {
			out = append(out, i.IP)
		}
	}
	return out
}

// servicePort translates the port at a place of the list. Only TCP is carried.
func servicePort(log *report.Log, at int, p *corev1.ServicePort) (model.ServicePort, bool) {
	if p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
		return model.ServicePort{}, false
	}
	out := model.ServicePort{Name: p.Name, Number: uint16(p.Port), Protocol: PortProtocol(p.AppProtocol, p.Name, p.Port)}
	switch {
	case p.TargetPort.StrVal != "":
		out.TargetName = p.TargetPort.StrVal
	case p.TargetPort.IntVal != 0:
		out.Target = uint16(p.TargetPort.IntVal)
	default:
		out.Target = uint16(p.Port)
	}
	if out.Protocol == model.UDP {
		log.Warnf(fmt.Sprintf("spec.ports[%d]", at), "named as UDP, but a TCP port: it is carried as bytes")
		log.As(report.PortName)
		out.Protocol = model.TCP
	}
	return out, true
}

// PortProtocol says what a port carries: what appProtocol says up to its first dash or, only where there is none, what the port's name says.
// Ports whose servers speak first are TCP unless declared.
func PortProtocol(app *string, name string, port int32) model.Protocol {
	if app != nil {
		switch name = *app; name {
		case "kubernetes.io/h2c":
			return model.HTTP2
		case "kubernetes.io/ws":
			return model.HTTP
		case "kubernetes.io/wss":
			return model.HTTPS
		}
	}
	if strings.HasPrefix(strings.ToLower(name), "grpc-web") {
		return model.GRPCWeb
	}
	prefix, _, _ := strings.Cut(name, "-")
	if p, ok := values.Protocol(prefix); ok {
		return p
	}
	switch port {
	case 25, 53, 3306, 27017: // SMTP, DNS, MySQL, MongoDB
		return model.TCP
	}
	return model.Unknown
}

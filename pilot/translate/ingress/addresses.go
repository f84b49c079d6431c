package ingress

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Addresses are where the gateways that serve Ingresses are to be had from outside: those of one Service, the oldest that the settings mean, so
// that nobody can lay a later one over it.
func Addresses(settings model.IngressSettings, services []*corev1.Service) []report.Address {
	var of *corev1.Service
	for _, s := range services {
		if means(settings, s) && (of == nil || older(s, of)) {
			of = s
		}
	}
	if of == nil {
		return nil
	}
	var out []report.Address
	if of.Spec.Type == corev1.ServiceTypeExternalName {
		out = append(out, report.Address{Hostname: of.Spec.ExternalName})
	}
	for _, i := range of.Status.LoadBalancer.Ingress {
		out = append(out, report.Address{IP: i.IP, Hostname: i.Hostname})
	}
	for _, ip := range of.Spec.ExternalIPs {
		out = append(out, report.Address{IP: ip})
	}
	slices.SortFunc(out, func(a, b report.Address) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.IP, b.IP))
	})
	return slices.Compact(out)
}

// means reports whether the settings mean a Service: by its name or, where they name none, by its labels.
func means(settings model.IngressSettings, s *corev1.Service) bool {
	if settings.Service == "" {
		return settings.Selector.Matches(s.Labels)
	}
	namespace, name, both := strings.Cut(settings.Service, "/")
	if !both {
		return s.Name == settings.Service
	}
	return s.Namespace == namespace && s.Name == name
}

func older(a, b *corev1.Service) bool {
	return cmp.Or(cmp.Compare(a.CreationTimestamp.Unix(), b.CreationTimestamp.Unix()), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace)) < 0
}

package source

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
)

// TestAddressesThatWereGivenAreNews: they are what a replica that did not give them must give, too.
func TestAddressesThatWereGivenAreNews(t *testing.T) {
	entry := func(value string) *inputs.ServiceEntry {
		o := &inputs.ServiceEntry{Given: []inputs.HostAddress{{Host: "a", Value: value}}}
		o.Generation = 1
		return o
	}
	if !sameContent(entry("240.240.0.1"), entry("240.240.0.1")) || sameContent(entry("240.240.0.1"), entry("240.240.0.2")) {
		t.Error("entries are the same although their addresses are not, or are not although they are")
	}
}

// An Ingress says the addresses of a gateway's Service, so that they are news though no spec changed.
func TestAddressesOfAServiceAreNews(t *testing.T) {
	before, after := &corev1.Service{}, &corev1.Service{}
	if !sameMeaning(before, after) {
		t.Error("two equal Services differ")
	}
	after.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	if sameMeaning(before, after) {
		t.Error("an address is no news")
	}
}

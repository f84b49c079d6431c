package ingress

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/pilot/model"
)

func TestAddresses(t *testing.T) {
	service := func(namespace, name, label string, age int, addresses ...corev1.LoadBalancerIngress) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"istio": label},
			CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0))}}
		s.Status.LoadBalancer.Ingress = addresses
		return s
	}
	edge := service("edge", "internet", "ingressgateway", 9, corev1.LoadBalancerIngress{IP: "192.0.2.1"}, corev1.LoadBalancerIngress{Hostname: "edge.example.com"})
	late := service("attic", "internet", "ingressgateway", 1, corev1.LoadBalancerIngress{IP: "192.0.2.66"})
	outer := service("edge", "outer", "", 20, corev1.LoadBalancerIngress{IP: "192.0.2.2"})
	outer.Spec.ExternalIPs = []string{"192.0.2.3", "192.0.2.2"}
	alias := service("edge", "alias", "", 20)
	alias.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "far.example.com"}
	for _, c := range []struct {
		says, service string
		want          string
	}{
		{"the oldest Service with the label of the gateways", "", "[{192.0.2.1 } { edge.example.com}]"},
		{"the oldest of a name", "internet", "[{192.0.2.1 } { edge.example.com}]"},
		{"one that is named with its namespace", "attic/internet", "[{192.0.2.66 }]"},
		{"external addresses, each once", "outer", "[{192.0.2.2 } {192.0.2.3 }]"},
		{"an alias", "edge/alias", "[{ far.example.com}]"},
		{"a Service that is not there", "edge/nobody", "[]"},
	} {
		settings := model.IngressSettings{Service: c.service, Selector: model.Selector{"istio": "ingressgateway"}}
		if got := fmt.Sprint(Addresses(settings, []*corev1.Service{late, outer, edge, alias})); got != c.want {
			t.Errorf("%s: got %s, want %s", c.says, got, c.want)
		}
	}
}

package balancer

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAssign(t *testing.T) {
	service := func(name string, age int, change func(*core.Service)) *core.Service {
		s := &core.Service{
			ObjectMeta: meta.ObjectMeta{Namespace: "x", Name: name, CreationTimestamp: meta.NewTime(time.Unix(int64(1000-age), 0))},
			Spec:       core.ServiceSpec{Type: core.ServiceTypeLoadBalancer},
		}
		if change != nil {
			change(s)
		}
		return s
	}
	holds := func(ip string) func(*core.Service) {
		return func(s *core.Service) { s.Status.LoadBalancer.Ingress = []core.LoadBalancerIngress{{IP: ip}} }
	}
	wants := func(ip string) func(*core.Service) { return func(s *core.Service) { s.Spec.LoadBalancerIP = ip } }
	class := "someone.else/lb"
	for name, c := range map[string]struct {
		services []*core.Service
		want     map[string]string // nil: the pool is exhausted
	}{
		"the oldest first":             {[]*core.Service{service("young", 1, nil), service("old", 2, nil)}, map[string]string{"x/old": "10.0.0.1", "x/young": "10.0.0.2"}},
		"what it has it keeps":         {[]*core.Service{service("a", 2, nil), service("b", 1, holds("10.0.0.1"))}, map[string]string{"x/b": "10.0.0.1", "x/a": "10.0.0.2"}},
		"two hold the same":            {[]*core.Service{service("a", 2, holds("10.0.0.1")), service("b", 1, holds("10.0.0.1"))}, map[string]string{"x/a": "10.0.0.1", "x/b": "10.0.0.2"}},
		"a foreign address goes":       {[]*core.Service{service("a", 1, holds("192.0.2.1"))}, map[string]string{"x/a": "10.0.0.1"}},
		"a wish is granted":            {[]*core.Service{service("a", 1, wants("10.0.0.3"))}, map[string]string{"x/a": "10.0.0.3"}},
		"a taken wish is not":          {[]*core.Service{service("a", 2, holds("10.0.0.3")), service("b", 1, wants("10.0.0.3"))}, map[string]string{"x/a": "10.0.0.3", "x/b": "10.0.0.1"}},
		"another class, another type":  {[]*core.Service{service("a", 1, func(s *core.Service) { s.Spec.LoadBalancerClass = &class }), service("b", 1, func(s *core.Service) { s.Spec.Type = core.ServiceTypeClusterIP })}, map[string]string{}},
		"more services than addresses": {[]*core.Service{service("a", 1, nil), service("b", 1, nil), service("c", 1, nil), service("d", 1, nil)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Assign(netip.MustParsePrefix("10.0.0.0/30"), c.services)
			if c.want == nil {
				if err == nil {
					t.Fatalf("no error, but %v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := map[string]string{}
			for k, a := range got {
				text[k] = a.String()
			}
			if !maps.Equal(text, c.want) {
				t.Errorf("got %v, want %v", text, c.want)
			}
		})
	}
}

package translate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// mesh10k is 10,000 services, 5,000 routes and 5,000 rules.
func mesh10k(b *testing.B) *inputs.Inputs {
	var text strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&text, `---
apiVersion: v1
kind: Service
metadata: {name: s%d, namespace: n%d}
spec: {clusterIP: 10.%d.%d.%d, selector: {app: s%d}, ports: [{port: 80, name: http, targetPort: 8080}, {port: 90, name: grpc-api}]}
`, i, i%100, i>>16, i>>8&255, i&255, i)
	}
	for i := range 5000 {
		fmt.Fprintf(&text, `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r%d, namespace: n%d, generation: 1}
spec:
  hosts: [s%d]
  http:
  - match: [{headers: {x-user: {exact: a}}, uri: {prefix: /api}}]
    retries: {attempts: 3, retryOn: 5xx}
    route: [{destination: {host: s%d, subset: v2}}]
  - timeout: 5s
    route: [{destination: {host: s%d, subset: v1}, weight: 90}, {destination: {host: s%d, subset: v2}, weight: 10}]
`, i, i%100, i, i, i, i)
	}
	for i := range 5000 {
		fmt.Fprintf(&text, `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d%d, namespace: n%d, generation: 1}
spec: {host: s%d, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
`, i, i%100, i)
	}
	return read(b, text.String())
}

// BenchmarkTranslate is one batch: everything, at most 250 ms, and with one object changed, at most 25 ms. bench-pilot judges that.
func BenchmarkTranslate(b *testing.B) {
	in := mesh10k(b)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			translate.Translate(in, nil)
		}
	})
	for kind, change := range changes() {
		b.Run("a "+kind, func(b *testing.B) {
			in := *in
			memo := translate.NewMemo()
			translate.Translate(&in, memo)
			for round := 0; b.Loop(); round++ {
				change(&in, round)
				translate.Translate(&in, memo)
			}
		})
	}
}

// BenchmarkTranslateSelected is a change of one WorkloadEntry beside 300 ServiceEntries of another namespace that select 300 by DNS.
func BenchmarkTranslateSelected(b *testing.B) {
	in, memo := selected(b, 300), translate.NewMemo()
	translate.Translate(in, memo)
	for round := 0; b.Loop(); round++ {
		elsewhere(in, round)
		translate.Translate(in, memo)
	}
}

// changes have one object say something else, by kind.
func changes() map[string]func(in *inputs.Inputs, round int) {
	return map[string]func(in *inputs.Inputs, round int){
		"Service": func(in *inputs.Inputs, round int) {
			in.Services = changed(in.Services, func(s *corev1.Service) {
				s.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: int32(1000 + round%2)}}
			})
		},
		"VirtualService": func(in *inputs.Inputs, round int) {
			in.VirtualServices = changed(in.VirtualServices, func(o *inputs.VirtualService) {
				o.Spec = proto.CloneOf(o.Spec)
				o.Spec.Http[1].Timeout = durationpb.New(time.Duration(1+round%2) * time.Second)
			})
		},
		"DestinationRule": func(in *inputs.Inputs, round int) {
			in.DestinationRules = changed(in.DestinationRules, func(o *inputs.DestinationRule) {
				o.Spec = proto.CloneOf(o.Spec)
				o.Spec.Subsets[0].Labels = map[string]string{"version": fmt.Sprint(round % 2)}
			})
		},
	}
}

// changed is a list with an object in one's place that says something else. Lists that were handed over are never changed, and neither are objects.
func changed[T any](list []*T, change func(*T)) []*T {
	list = slices.Clone(list)
	again := *list[7]
	change(&again)
	list[7] = &again
	return list
}

// endpoints10k is 10,000 services of two pods each.
func endpoints10k() *inputs.Inputs {
	in := &inputs.Inputs{Mesh: source.DefaultMesh()}
	ready := true
	for i := range 10000 {
		name := fmt.Sprintf("s%d", i)
		meta := metav1.ObjectMeta{Name: name, Namespace: fmt.Sprintf("n%d", i%100), Labels: map[string]string{discoveryv1.LabelServiceName: name}}
		in.Services = append(in.Services, &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}})
		port, http := int32(8080), "http"
		slice := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &http, Port: &port}}}
		for j := range 2 {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", name, j), Namespace: meta.Namespace, Labels: map[string]string{"app": name}}}
			pod.Status.PodIP = fmt.Sprintf("10.%d.%d.%d", j, i>>8, i&255)
			in.Pods = append(in.Pods, pod)
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{pod.Status.PodIP},
				Conditions: discoveryv1.EndpointConditions{Ready: &ready}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod.Name}})
		}
		in.EndpointSlices = append(in.EndpointSlices, slice)
	}
	return in
}

// BenchmarkEndpoints is one change of one slice.
func BenchmarkEndpoints(b *testing.B) {
	in, memo := endpoints10k(), translate.NewEndpointMemo()
	translate.Endpoints(in, memo)
	for b.Loop() {
		in.EndpointSlices = changed(in.EndpointSlices, func(*discoveryv1.EndpointSlice) {})
		translate.Endpoints(in, memo)
	}
}

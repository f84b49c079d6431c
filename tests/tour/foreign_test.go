package tour

import (
	"slices"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

// What somebody has is found wherever it is, and what is none of Heddle's is not taken for it.
func TestTaken(t *testing.T) {
	named := func(namespace, name string, labels map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}
	}
	helm := func(namespace, release string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: named(namespace, "sh.helm.release.v1."+release+".v1", map[string]string{"owner": "helm", "name": release})}
	}
	for what, c := range map[string]struct {
		there []runtime.Object
		want  []string
	}{
		"nothing":             {nil, nil},
		"somebody's own":      {[]runtime.Object{&corev1.Namespace{ObjectMeta: named("", "bank", nil)}, helm("bank", "vault")}, nil},
		"a namespace":         {[]runtime.Object{&corev1.Namespace{ObjectMeta: named("", "shop", nil)}}, []string{"namespace shop"}},
		"a control plane":     {[]runtime.Object{&admission.MutatingWebhookConfiguration{ObjectMeta: named("", "heddle-injector", nil)}}, []string{"webhook configuration heddle-injector"}},
		"another webhook":     {[]runtime.Object{&admission.ValidatingWebhookConfiguration{ObjectMeta: named("", "heddle-validator", nil)}}, []string{"webhook configuration heddle-validator"}},
		"a release elsewhere": {[]runtime.Object{helm("mesh", "heddle"), helm("mesh", "heddle-base")}, []string{"Helm release mesh/heddle", "Helm release mesh/heddle-base"}},
	} {
		got, err := (&Cluster{kube: fake.NewClientset(c.there...)}).Taken(t.Context())
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q (%v), want %q", what, got, err, c.want)
		}
	}
}

func TestDoorkeeper(t *testing.T) {
	gateway := func(namespace string, labels map[string]string) *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "internet"},
			Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}}}
	}
	well := map[string]string{"istio": "ingressgateway"}
	for what, c := range map[string]struct {
		there runtime.Object
		want  string
	}{
		"somebody's":     {gateway("istio-system", well), "istio-system/internet"},
		"the demo's own": {gateway(GatewayNamespace, well), ""},
		"another kind":   {gateway("istio-system", map[string]string{"istio": "egressgateway"}), ""},
	} {
		if got, err := (&Cluster{kube: fake.NewClientset(c.there)}).Doorkeeper(t.Context()); err != nil || got != c.want {
			t.Errorf("%s: %q (%v), want %q", what, got, err, c.want)
		}
	}
}

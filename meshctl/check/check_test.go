package check_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	authorization "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	fakeextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/fake"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttest "k8s.io/client-go/testing"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/meshctl/check"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/install"
)

// setup is a fake cluster; forbidden names the resources that the user may not touch.
type setup struct {
	version    string
	objects    []runtime.Object
	crds       []runtime.Object
	forbidden  string
	unreadable string              // a resource that the user may not list
	never      *meta.LabelSelector // what the control plane does not inject; nil: it does not say
}

func (s setup) injection(context.Context, string) (inject.Params, error) {
	if s.never == nil {
		return inject.Params{}, errors.New("no control plane runs")
	}
	p := inject.DefaultParams("x", "v2")
	p.NeverInject = []meta.LabelSelector{*s.never}
	return p, nil
}

func (s setup) run(t *testing.T, pre bool) []check.Finding {
	t.Helper()
	kube := fake.NewClientset(s.objects...)
	kube.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttest.Action) (bool, runtime.Object, error) {
		review := action.(clienttest.CreateAction).GetObject().(*authorization.SelfSubjectAccessReview)
		review.Status.Allowed = review.Spec.ResourceAttributes.Resource != s.forbidden
		return true, review, nil
	})
	kube.PrependReactor("list", "*", func(action clienttest.Action) (bool, runtime.Object, error) {
		resource := action.GetResource().GroupResource()
		return resource.Resource == s.unreadable, nil, apierrors.NewForbidden(resource, "", errors.New("not for eve"))
	})
	c := &cluster.Cluster{Kube: kube, Extensions: fakeextensions.NewClientset(s.crds...), Version: s.version}
	found, err := check.New(c, install.New(c, install.Options{Version: "v2", Out: io.Discard}), s.injection).Run(t.Context(), pre)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func namespace(name, level string) *core.Namespace {
	return &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{wire.InjectionLabel: "enabled", "pod-security.kubernetes.io/enforce": level}}}
}

func TestWhatMayNotBeReadIsAFinding(t *testing.T) {
	found := setup{version: "v1.37.2", unreadable: "nodes"}.run(t, true)
	if !slices.ContainsFunc(found, func(f check.Finding) bool { return strings.Contains(f.Message, "missing rights: nodes") }) || len(found) < 4 {
		t.Errorf("got %+v", found)
	}
}

// Several checks list the same; who may not is told once.
func TestAMissingRightIsNamedOnce(t *testing.T) {
	named := 0
	for _, f := range (setup{version: "v1.37.2", unreadable: "deployments"}).run(t, false) {
		if strings.Contains(f.Message, "missing rights: deployments") {
			named++
		}
	}
	if named != 1 {
		t.Errorf("the right to list deployments is named %d times", named)
	}
}

func TestFindings(t *testing.T) {
	crds, err := manifests.CRDs("v1")
	if err != nil {
		t.Fatal(err)
	}
	foreign := crds[0].DeepCopy()
	foreign.Labels = nil
	foreign.Spec.Versions = foreign.Spec.Versions[:1]
	one := int32(1)
	down := &apps.Deployment{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: wire.DiscoveryService}, Spec: apps.DeploymentSpec{Replicas: &one}}
	hook := &admission.MutatingWebhookConfiguration{ObjectMeta: meta.ObjectMeta{Name: install.InjectorConfiguration}}
	node := func(kubelet string) *core.Node {
		return &core.Node{ObjectMeta: meta.ObjectMeta{Name: "n"}, Status: core.NodeStatus{NodeInfo: core.NodeSystemInfo{KubeletVersion: kubelet}}}
	}
	bare := &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "bare", Labels: map[string]string{"app": "bare"}}, Status: core.PodStatus{Phase: core.PodRunning}}
	excused := bare.DeepCopy()
	excused.Labels = map[string]string{"app": "excused"}
	never := &meta.LabelSelector{MatchLabels: excused.Labels}
	of := func(name, label string) *core.Namespace {
		ns := namespace(name, "")
		delete(ns.Labels, wire.InjectionLabel)
		ns.Labels[wire.RevisionLabel] = label
		return ns
	}
	both := of("shop", "canary")
	both.Labels[wire.InjectionLabel] = "enabled"
	canary := down.DeepCopy()
	canary.Name += "-canary"
	tag := func(of string) *admission.MutatingWebhookConfiguration {
		return &admission.MutatingWebhookConfiguration{ObjectMeta: meta.ObjectMeta{Name: "heddle-tag-prod", Labels: map[string]string{wire.TagLabel: "prod", wire.RevisionLabel: of}},
			Webhooks: []admission.MutatingWebhook{{ClientConfig: admission.WebhookClientConfig{CABundle: []byte("root")}}}}
	}
	root := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Namespace: wire.SystemNamespace, Name: wire.RootConfigMap}, Data: map[string]string{wire.RootConfigMapKey: "root"}}
	newer := root.DeepCopy()
	newer.Data[wire.RootConfigMapKey] = "another root"
	for why, c := range map[string]struct {
		setup setup
		pre   bool
		level check.Level
		want  string
	}{
		"a fit cluster":                      {setup{version: "v1.37.2"}, true, check.OK, "Kubernetes v1.37.2"},
		"an old cluster":                     {setup{version: "v1.25.0"}, true, check.Error, "Kubernetes v1.25.0 is older than 1.30"},
		"an old node":                        {setup{version: "v1.37.2", objects: []runtime.Object{node("v1.27.1")}}, true, check.Warning, "node n runs kubelet v1.27.1"},
		"a node too old for native sidecars": {setup{version: "v1.37.2", objects: []runtime.Object{node("v1.32.9")}}, true, check.Warning, "node n runs kubelet v1.32.9"},
		"a node that is just new enough":     {setup{version: "v1.37.2", objects: []runtime.Object{node("v1.33.0")}}, true, check.OK, "1 nodes"},
		"missing rights":                     {setup{version: "v1.37.2", forbidden: "clusterroles"}, true, check.Error, "this user may not create clusterroles"},
		"a foreign definition lacks a lot":   {setup{version: "v1.37.2", crds: []runtime.Object{foreign}}, true, check.Warning, foreign.Name + " belongs to another installer and lacks version"},
		"a namespace forbids injection":      {setup{version: "v1.37.2", objects: []runtime.Object{namespace("shop", "restricted")}}, true, check.Error, "shop is labelled for injection and enforces"},
		"not installed":                      {setup{version: "v1.37.2"}, false, check.Error, "Heddle is not installed"},
		"no pod is available":                {setup{version: "v1.37.2", objects: []runtime.Object{down}}, false, check.Error, "0 of 0 pods available"},
		"only the webhook is left":           {setup{version: "v1.37.2", objects: []runtime.Object{hook}}, false, check.Error, "is gone, but webhook configuration heddle-injector is there"},
		"a revision without pods":            {setup{version: "v1.37.2", objects: []runtime.Object{down, canary}}, false, check.Error, "revision canary: 0 of 0 pods available"},
		"a revision without webhooks":        {setup{version: "v1.37.2", objects: []runtime.Object{down, canary}}, false, check.Error, "canary: the control plane's root is missing from webhook configuration heddle-injector-canary"},
		"a namespace of no revision":         {setup{version: "v1.37.2", objects: []runtime.Object{down, of("shop", "gone")}}, false, check.Error, "namespace shop: there is no revision or tag gone"},
		"a namespace with both labels":       {setup{version: "v1.37.2", objects: []runtime.Object{down, both}}, false, check.Warning, "namespace shop: its label heddle-injection=enabled comes before heddle.io/rev=canary"},
		"a tag":                              {setup{version: "v1.37.2", objects: []runtime.Object{down, canary, tag("canary"), root}}, false, check.OK, "tag prod stands for revision canary"},
		"a tag of no revision":               {setup{version: "v1.37.2", objects: []runtime.Object{down, tag("canary"), root}}, false, check.Error, "tag prod stands for revision canary, which is not installed"},
		"a tag with an old root":             {setup{version: "v1.37.2", objects: []runtime.Object{down, canary, tag("canary"), newer}}, false, check.Error, "tag prod does not have the mesh's present root"},
		"a pod of a tag without a proxy":     {setup{version: "v1.37.2", objects: []runtime.Object{down, canary, tag("canary"), root, of("shop", "prod"), bare}}, false, check.Warning, "pod shop/bare started without a proxy"},
		"no webhooks":                        {setup{version: "v1.37.2", objects: []runtime.Object{down}}, false, check.Error, "root is missing from webhook configuration heddle-injector"},
		"a pod without a proxy":              {setup{version: "v1.37.2", objects: []runtime.Object{down, namespace("shop", ""), bare}}, false, check.Warning, "pod shop/bare started without a proxy"},
		"a pod without a proxy, by the control plane's own word": {setup{version: "v1.37.2", objects: []runtime.Object{down, namespace("shop", ""), bare}, never: never}, false, check.Warning, "pod shop/bare started without a proxy"},
		"a pod that the mesh never injects":                      {setup{version: "v1.37.2", objects: []runtime.Object{down, namespace("shop", ""), excused}, never: never}, false, check.OK, "0 pods with a proxy, 0 that should have one"},
	} {
		t.Run(why, func(t *testing.T) {
			found := c.setup.run(t, c.pre)
			if !slices.ContainsFunc(found, func(f check.Finding) bool { return f.Level == c.level && strings.Contains(f.Message, c.want) }) {
				t.Errorf("no %s with %q in %+v", c.level, c.want, found)
			}
			if c.want == "Heddle is not installed" && slices.ContainsFunc(found, func(f check.Finding) bool { return f.Check == "webhooks" || f.Check == "data plane" }) {
				t.Errorf("parts of an installation are looked for: %+v", found)
			}
			if c.pre && check.Worst(found) != c.level {
				t.Errorf("the worst is %s, want %s: %+v", check.Worst(found), c.level, found)
			}
		})
	}
}

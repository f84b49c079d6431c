package install_test

import (
	"slices"
	"testing"

	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/meshctl/install"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func definition(t *testing.T, name string) *extensions.CustomResourceDefinition {
	t.Helper()
	all, err := manifests.CRDs("v1")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(c *extensions.CustomResourceDefinition) bool { return c.Name == name })
	if at < 0 {
		t.Fatalf("no definition %s", name)
	}
	return all[at]
}

func TestLacksNamesVersionsAndFields(t *testing.T) {
	want := definition(t, "virtualservices.networking.istio.io")
	if got := install.Lacks(want, want); len(got) != 0 {
		t.Errorf("a definition lacks of itself %v", got)
	}
	have := want.DeepCopy()
	have.Spec.Versions = slices.DeleteFunc(have.Spec.Versions, func(v extensions.CustomResourceDefinitionVersion) bool { return v.Name == "v1beta1" })
	for n := range have.Spec.Versions {
		if have.Spec.Versions[n].Name == "v1" {
			route := have.Spec.Versions[n].Schema.OpenAPIV3Schema.Properties["spec"].Properties["http"].Items.Schema
			delete(route.Properties, "retries")
			delete(route.Properties["match"].Items.Schema.Properties, "uri")
		}
	}
	want2 := []string{"v1 spec.http[].match[].uri", "v1 spec.http[].retries", "version v1beta1"}
	got := install.Lacks(have, want)
	slices.Sort(got)
	if !slices.Equal(got, want2) {
		t.Errorf("got %v, want %v", got, want2)
	}
}

func TestASchemaThatTakesAnythingLacksNothing(t *testing.T) {
	want := definition(t, "virtualservices.networking.istio.io")
	have, yes := want.DeepCopy(), true
	for n := range have.Spec.Versions {
		have.Spec.Versions[n].Schema.OpenAPIV3Schema = &extensions.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &yes}
	}
	if got := install.Lacks(have, want); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

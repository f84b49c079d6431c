package inject_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
)

const file = `# a comment
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  unknownField: kept
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: app, image: x}]
---
---
apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: CronJob
  metadata: {name: nightly}
  spec:
    schedule: "@daily"
    jobTemplate:
      spec:
        template:
          spec: {restartPolicy: Never, containers: [{name: app}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: quiet, labels: {sidecar.heddle.io/inject: "false"}}
  spec: {containers: [{name: app}]}
`

func TestInjectYAML(t *testing.T) {
	out, outcomes, err := inject.InjectYAML(strings.NewReader(file), "default", params(options{}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range outcomes {
		mark := "no "
		if o.Injected {
			mark = "yes "
		}
		got = append(got, mark+o.Object)
	}
	want := "yes Deployment shop/web, yes CronJob default/nightly, no Pod default/quiet"
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("outcomes %s, want %s", text, want)
	}
	documents := strings.Split(string(out), "---\n")
	if len(documents) != 3 {
		t.Fatalf("%d documents, want 3", len(documents))
	}
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal([]byte(documents[1]), &deployment); err != nil {
		t.Fatal(err)
	}
	template := deployment.Spec.Template
	if len(template.Spec.InitContainers) != 2 || template.Labels[wire.CanonicalNameLabel] != "web" || *deployment.Spec.Replicas != 3 {
		t.Errorf("the Deployment is %+v", deployment)
	}
	if !strings.Contains(documents[1], "unknownField: kept") {
		t.Error("a field that we do not know was lost")
	}
	var list struct{ Items []batchv1.CronJob }
	if err := yaml.Unmarshal([]byte(documents[2]), &list); err != nil {
		t.Fatal(err)
	}
	if n := len(list.Items[0].Spec.JobTemplate.Spec.Template.Spec.InitContainers); n != 2 {
		t.Errorf("the CronJob has %d init containers", n)
	}
}

func TestInjectYAMLTwice(t *testing.T) {
	once, _, err := inject.InjectYAML(strings.NewReader(file), "default", params(options{}))
	if err != nil {
		t.Fatal(err)
	}
	twice, outcomes, err := inject.InjectYAML(strings.NewReader(string(once)), "default", params(options{}))
	if err != nil || string(once) != string(twice) {
		t.Errorf("changed again (%v)", err)
	}
	for _, o := range outcomes {
		if o.Injected {
			t.Errorf("%s was injected again", o.Object)
		}
	}
}

func TestInjectYAMLRefuses(t *testing.T) {
	for why, c := range map[string]struct{ text, want string }{
		"no YAML":                     {"a: b: c", "document 1"},
		"a second document":           {"kind: Service\n---\n{", "document 2"},
		"a workload without template": {"kind: Deployment\nmetadata: {name: x}", "Deployment default/x: spec.template"},
		"a pod that is none":          {"kind: Pod\nmetadata: {name: x}\nspec: {containers: 5}", "Pod default/x: reading the pod"},
		"a mistake in a pod":          {"kind: Pod\nmetadata: {name: x, annotations: {sidecar.istio.io/proxyCPU: many}}\nspec: {}", "annotation sidecar.istio.io/proxyCPU"},
		"a list of something else":    {"kind: List\nitems: [1]", "items[0]"},
	} {
		if _, _, err := inject.InjectYAML(strings.NewReader(c.text), "default", params(options{})); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error that says %q", why, err, c.want)
		}
	}
}

func FuzzInjectYAML(f *testing.F) {
	f.Add(file)
	f.Add("kind: Pod\nspec: {containers: [{name: heddle-proxy}]}")
	f.Fuzz(func(t *testing.T, text string) {
		once, _, err := inject.InjectYAML(strings.NewReader(text), "default", params(options{}))
		if err != nil {
			return
		}
		twice, _, err := inject.InjectYAML(strings.NewReader(string(once)), "default", params(options{}))
		if err != nil || string(once) != string(twice) {
			t.Errorf("not idempotent (%v):\n%s\n%s", err, once, twice)
		}
	})
}

package describe

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/source"
)

// TestGolden describes pods and services of a mesh of files (in.yaml). Each line of asks is "pod NAME" or "service NAME"; the namespace is shop.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		in, err := replica.FromFiles([]replica.Text{{Name: c.Name, Content: []byte(c.Files["in.yaml"])}}, "shop", replica.Defaults())
		if err != nil {
			t.Fatal(err)
		}
		m, err := replica.New(in)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for line := range strings.Lines(c.Files["asks"]) {
			if err := ask(m, strings.Fields(line), &out); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			fmt.Fprintln(&out)
		}
		return map[string]string{"text": out.String()}
	})
}

func ask(m *replica.Mesh, words []string, out *strings.Builder) error {
	if words[0] == "service" {
		svc, err := FindService(m, words[1], "shop")
		if err != nil {
			return err
		}
		r := Service(m, svc)
		if _, err := json.Marshal(r); err != nil {
			return err
		}
		return r.Text(out)
	}
	p, err := m.Find(words[1], "shop")
	if err != nil {
		return err
	}
	r := Pod(m, p)
	if _, err := json.Marshal(r); err != nil {
		return err
	}
	return r.Text(out)
}

// TestWhatTheInstallationSays: whether a pod would be given a proxy is said by the labels and selectors of the installation.
func TestWhatTheInstallationSays(t *testing.T) {
	in, err := source.FromYAML([]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	in.Pods = []*core.Pod{{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: "web"}, Status: core.PodStatus{PodIP: "10.0.0.1", Phase: core.PodRunning}}}
	m, err := replica.New(in)
	if err != nil {
		t.Fatal(err)
	}
	for istios, want := range map[bool]string{false: "it has none: namespace shop has no label", true: "would be given one if it was created now"} {
		m.Injection.IstioLabels = istios
		var out strings.Builder
		if err := ask(m, []string{"pod", "web"}, &out); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("want %s in\n%s (%v)", want, out.String(), err)
		}
	}
}

package render

import (
	"encoding/json"
	"strings"
	"testing"

	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/pki"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
)

func layout() plan.Layout { return plan.Layout{Root: "/state"} }

func TestEverythingParses(t *testing.T) {
	p, l := plan.Default(), layout()
	files := map[string][]byte{
		"kubeconfig": Kubeconfig(p, []byte("ca"), "me", pki.Pair{Certificate: []byte("c"), Key: []byte("k")}),
		"proxy":      Proxy(p, l),
	}
	for i, document := range strings.Split(string(DNS(p)), "\n---\n") {
		files["dns "+string(rune('0'+i))] = []byte(document)
	}
	for _, n := range p.Nodes {
		files["kubelet "+n.Name] = Kubelet(p, l, n)
	}
	for name, data := range files {
		var object map[string]any
		if err := yaml.UnmarshalStrict(data, &object); err != nil || object["kind"] == nil {
			t.Errorf("%s: %v\n%s", name, err, data)
		}
	}
	var network map[string]any
	if err := json.Unmarshal(CNI(p.Nodes[0]), &network); err != nil {
		t.Errorf("CNI: %v", err)
	}
}

// A kubelet or kube-proxy does not start with a field that it does not know.
func TestConfigurationHasKnownFieldsOnly(t *testing.T) {
	p, l := plan.Default(), layout()
	for _, n := range p.Nodes {
		var config kubeletconfig.KubeletConfiguration
		if err := yaml.UnmarshalStrict(Kubelet(p, l, n), &config); err != nil {
			t.Errorf("kubelet of %s: %v", n.Name, err)
		}
	}
	var config kubeproxy.KubeProxyConfiguration
	if err := yaml.UnmarshalStrict(Proxy(p, l), &config); err != nil {
		t.Errorf("kube-proxy: %v", err)
	}
}

func TestOnlyTheEgressNodeIsTainted(t *testing.T) {
	p, l := plan.Default(), layout()
	groups := Groups(p, l)
	for _, n := range p.Nodes {
		tainted := strings.Contains(string(Kubelet(p, l, n)), "registerWithTaints:\n- key: "+plan.EgressRole+"\n  effect: NoSchedule")
		labelled := false
		for _, program := range groups[n.Name].Programs {
			labelled = labelled || strings.Contains(strings.Join(program.Args, " "), plan.EgressRole+"=true")
		}
		if tainted != n.Egress || labelled != n.Egress {
			t.Errorf("%s: tainted %v, labelled %v, want %v", n.Name, tainted, labelled, n.Egress)
		}
	}
}

func TestDNSKnowsTheOutside(t *testing.T) {
	p := plan.Default()
	text := string(DNS(p))
	for _, h := range p.OutsideHosts {
		if !strings.HasSuffix(h.Name, ".example") {
			t.Errorf("%s: only the zone example is served", h.Name)
		}
		if !strings.Contains(text, h.Name+". 60 IN A "+h.Address.String()) {
			t.Errorf("no record of %s", h.Name)
		}
	}
}

func TestEachGroupLogsToItsOwnFolder(t *testing.T) {
	p, l := plan.Default(), layout()
	groups := Groups(p, l)
	seen := map[string]string{}
	for _, name := range p.Groups() {
		g, ok := groups[name]
		if !ok || g.Name != name || len(g.Programs) == 0 {
			t.Errorf("group %s: %+v", name, g)
		}
		if other, ok := seen[g.Logs]; ok {
			t.Errorf("%s and %s log to %s", name, other, g.Logs)
		}
		seen[g.Logs] = name
	}
}

package translate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

const besideIstio = `
apiVersion: v1
kind: Namespace
metadata: {name: theirs, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: moved, labels: {istio-injection: enabled, heddle-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: canary, labels: {istio-injection: enabled, heddle.io/rev: canary}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ours, labels: {heddle-injection: enabled}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a, namespace: theirs}
spec: {egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a, namespace: moved}
spec: {egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a, namespace: canary}
spec: {egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a, namespace: ours}
spec: {egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: b, namespace: ours, labels: {istio.io/rev: canary}}
spec: {egress: [{hosts: [nonsense]}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: c, namespace: theirs}
spec: {}
`

const istiod = `---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: Service
metadata: {name: istiod-canary, namespace: istio-system, labels: {app: istiod}}
spec: {clusterIP: 10.0.0.9, ports: [{port: 15012, name: https-dns}]}
`

// atIstiod are objects that two control planes may call theirs.
const atIstiod = `---
apiVersion: v1
kind: Namespace
metadata: {name: mesh, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Namespace
metadata: {name: out, labels: {istio-injection: enabled, heddle-injection: disabled}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a, namespace: mesh}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a, namespace: out}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: g, namespace: theirs}
spec: {template: {serviceAccount: vm}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
`

// TestObjectsOfIstiod holds whose the objects are while Istio's control plane runs in the cluster, and that it is nobody else's while none does.
func TestObjectsOfIstiod(t *testing.T) {
	for _, c := range []struct {
		text, want string
		labels     bool // Istio's count as Heddle's
		groups     int  // in force
	}{
		{text: besideIstio + atIstiod, groups: 1},
		{text: besideIstio + istiod, want: "EnvoyFilter theirs/c, Sidecar ours/b, Sidecar theirs/a"},
		{text: besideIstio + istiod + atIstiod, want: "EnvoyFilter theirs/c, PeerAuthentication istio-system/default, Sidecar mesh/a, Sidecar ours/b, Sidecar out/a, " +
			"Sidecar theirs/a, WorkloadGroup theirs/g"},
		{text: besideIstio + istiod + atIstiod, labels: true, want: "PeerAuthentication istio-system/default, Sidecar mesh/a, Sidecar out/a", groups: 1},
	} {
		in := read(t, c.text)
		in.Mesh.IstioLabels, in.Mesh.Machines = c.labels, true
		snap, rep := translate.Translate(in, nil)
		var out []string
		for _, e := range rep.Entries {
			if e.Foreign {
				out = append(out, e.Ref.String())
			}
		}
		slices.Sort(out)
		if got := strings.Join(out, ", "); got != c.want || len(snap.WorkloadGroups) != c.groups {
			t.Errorf("Istio owns %s; want %s; %d groups are in force, want %d", got, c.want, len(snap.WorkloadGroups), c.groups)
		}
	}
}

// TestUnseenNamespaces: selectors that leave out the istiod's namespace hide no istiod, and nothing is told of what is where they do not look.
func TestUnseenNamespaces(t *testing.T) {
	in := read(t, besideIstio+istiod+`---
apiVersion: v1
kind: ConfigMap
metadata: {name: heddle, namespace: heddle-system}
data: {mesh: 'discoverySelectors: [{matchLabels: {heddle-injection: enabled}}]'}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: d, namespace: theirs}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: e, namespace: theirs}
spec: {action: CUSTOM}
`)
	memo := translate.NewMemo()
	snap, rep := translate.Translate(in, memo)
	if !snap.BesideIstio {
		t.Error("the istiod is not seen")
	}
	if len(snap.PeerAuthentications) != 1 || len(snap.Authorizations) != 1 {
		t.Errorf("%d and %d policies are in force, want one of each", len(snap.PeerAuthentications), len(snap.Authorizations))
	}
	for _, e := range rep.Entries {
		if e.Ref.Namespace == "theirs" || e.Ref.Namespace == "canary" {
			t.Errorf("told of %s", e)
		}
	}
	for _, i := range memo.Checker().Check(in.Unimplemented[0]) {
		if i.Severity == report.Error {
			t.Errorf("refused: %s", i)
		}
	}
}

// TestNothingIsRefusedBesideIstiod holds that what is wrong is a warning at apply time while Istio's control plane runs too.
func TestNothingIsRefusedBesideIstiod(t *testing.T) {
	for text, severity := range map[string]report.Severity{besideIstio: report.Error, besideIstio + istiod: report.Warning} {
		in, memo := read(t, text), translate.NewMemo()
		translate.Translate(in, memo)
		checker := memo.Checker()
		for _, o := range in.Sidecars {
			if o.Name != "b" {
				continue
			}
			issues := checker.Check(o)
			if len(issues) == 0 || issues[0].Severity != severity || issues[0].Path != "spec.egress[0].hosts[0]" {
				t.Errorf("%v, want a %s", issues, severity)
			}
		}
	}
}

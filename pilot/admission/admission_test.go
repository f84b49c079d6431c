package admission

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// mesh is what objects are judged against.
const mesh = `
apiVersion: v1
kind: Service
metadata: {name: catalog, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: ledger, namespace: bank}
spec: {clusterIP: 10.0.0.2, ports: [{port: 80, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: older, namespace: shop}
spec: {hosts: [taken.example.com], http: [{route: [{destination: {host: catalog}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pages, namespace: shop}
spec: {http: [{match: [{uri: {prefix: /pages}}], route: [{destination: {host: catalog}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: older, namespace: shop}
spec: {host: catalog, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: older, namespace: shop}
spec: {workloadSelector: {labels: {app: web}}, egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: older, namespace: shop}
spec: {selector: {app: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: heddle}
spec: {controller: heddle.dev/ingress-controller}
`

// ask sends a review over HTTP, as the API server does.
func ask(t *testing.T, op admissionv1.Operation, before, after string) *admissionv1.AdmissionResponse {
	t.Helper()
	in, err := source.FromYAML([]byte(mesh))
	if err != nil {
		t.Fatal(err)
	}
	memo := translate.NewMemo()
	translate.Translate(in, memo)
	handler := New(func() Check { return memo.Checker().Check }, slog.New(slog.DiscardHandler))
	namespace := "shop"
	if strings.Contains(after, "IngressClass\"") {
		namespace = ""
	}
	review := admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{UID: "1", Operation: op, Namespace: namespace, Name: "r",
			Object: raw(after), OldObject: raw(before)}}
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Response == nil {
		t.Fatalf("answer %d %s: %v", w.Code, w.Body, err)
	}
	return out.Response
}

func raw(text string) (out runtime.RawExtension) {
	if text != "" {
		out.Raw = []byte(text)
	}
	return out
}

func virtualService(spec string) string { return object("VirtualService", spec) }

func object(kind, spec string) string {
	return `{"apiVersion":"networking.istio.io/v1","kind":"` + kind + `","metadata":{"name":"r","namespace":"shop"},"spec":` + spec + `}`
}

func policy(annotations, spec string) string {
	return `{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"r","namespace":"shop","annotations":` + annotations + `},"spec":` + spec + `}`
}

func ingress(class, backend string) string {
	return `{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"r","namespace":"shop"},"spec":{"ingressClassName":"` + class +
		`","defaultBackend":` + backend + `}}`
}

func entry(annotations string) string {
	return `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"r","namespace":"shop","annotations":` + annotations +
		`},"spec":{"hosts":["out.example.com"],"resolution":"DNS","ports":[{"number":80,"name":"http","protocol":"HTTP"}]}}`
}

const (
	resource = `{"resource":{"kind":"Bucket","name":"b"}}`

	good = `{"hosts":["catalog"],"http":[{"route":[{"destination":{"host":"catalog"}}]}]}`
	bad  = `{"hosts":["catalog"],"http":[{"match":[{"uri":{"regex":"("}}],"route":[{"destination":{"host":"catalog"}}]}]}`
)

// TestAProbeIsRefused holds that what is to tell whether this webhook is reached is refused by it, and would be by nothing else.
func TestAProbeIsRefused(t *testing.T) {
	probe := Probe()
	body := func() string {
		data, err := json.Marshal(probe)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if a := ask(t, admissionv1.Create, "", body()); a.Allowed || !strings.Contains(a.Result.Message, alwaysRefused) {
		t.Errorf("it passes: %+v", a)
	}
	probe.SetAnnotations(nil)
	if a := ask(t, admissionv1.Create, "", body()); !a.Allowed || len(a.Warnings) > 0 {
		t.Errorf("it would be refused anyway: %+v", a.Result)
	}
}

func TestAdmission(t *testing.T) {
	for _, c := range []struct {
		says          string
		op            admissionv1.Operation
		before, after string
		refused       string // part of the reason; empty: allowed
		warned        string
	}{
		{says: "a good object passes", op: admissionv1.Create, after: virtualService(good)},
		{says: "a bad regular expression is refused with its path", op: admissionv1.Create, after: virtualService(bad),
			refused: "VirtualService shop/r: spec.http[0].match[0].uri.regex: bad regular expression"},
		{says: "weights that sum to zero are refused", op: admissionv1.Create, refused: "spec.http[0].route: the weights sum to zero",
			after: virtualService(`{"hosts":["catalog"],"http":[{"route":[{"destination":{"host":"catalog"}},{"destination":{"host":"catalog","subset":"a"}}]}]}`)},
		{says: "an unimplemented field is refused with its path", op: admissionv1.Create, refused: "spec.http[0].fault.delay.exponentialDelay: not implemented by this version",
			after: virtualService(`{"hosts":["catalog"],"http":[{"fault":{"delay":{"exponentialDelay":"1s"}},"route":[{"destination":{"host":"catalog"}}]}]}`)},
		{says: "an unknown field is refused", op: admissionv1.Create, refused: "spec.htp: unknown field", after: virtualService(`{"hosts":["catalog"],"htp":[]}`)},
		{says: "an unknown destination is a warning only", op: admissionv1.Create, warned: "VirtualService shop/r: spec.http[0].route[0].destination.host: nowhere.shop.svc.cluster.local is not a known host",
			after: virtualService(`{"hosts":["catalog"],"http":[{"route":[{"destination":{"host":"nowhere"}}]}]}`)},
		{says: "an unknown subset is a warning only", op: admissionv1.Create, warned: `spec.http[0].route[0].destination.subset: no DestinationRule has a subset "v1"`,
			after: virtualService(`{"hosts":["catalog"],"http":[{"route":[{"destination":{"host":"catalog","subset":"v1"}}]}]}`)},
		{says: "an unknown gateway is a warning only", op: admissionv1.Create, warned: "spec.gateways[0]: there is no Gateway shop/nowhere",
			after: virtualService(`{"hosts":["a.example.com"],"gateways":["nowhere"],"http":[{"route":[{"destination":{"host":"catalog"}}]}]}`)},
		{says: "a delegate that is not there is a warning only", op: admissionv1.Create, warned: "spec.http[0].delegate: no VirtualService shop/nowhere without hosts is visible: the route is left out",
			after: virtualService(`{"hosts":["a.example.com"],"http":[{"delegate":{"name":"nowhere"}}]}`)},
		{says: "so is one that is asked for other paths than its own", op: admissionv1.Create, warned: "spec.http[0].delegate: the conditions of spec.http[0] in shop/pages contradict those here",
			after: virtualService(`{"hosts":["a.example.com"],"http":[{"match":[{"uri":{"prefix":"/other"}}],"delegate":{"name":"pages"}}]}`)},
		{says: "so is a share of a mirror that neither has", op: admissionv1.Create, warned: "spec.http[0] in shop/pages: mirrorPercentage is without effect: there is no mirror, here or there",
			after: virtualService(`{"hosts":["a.example.com"],"http":[{"mirrorPercentage":{"value":10},"delegate":{"name":"pages"}}]}`)},
		{says: "a delegate that fits passes", op: admissionv1.Create, after: virtualService(`{"hosts":["a.example.com"],"http":[{"match":[{"uri":{"prefix":"/p"}}],"delegate":{"name":"pages"}}]}`)},
		{says: "a host that an older rule has is a warning with its name", op: admissionv1.Create, warned: "spec.hosts[0]: shop/older comes first and has http rules",
			after: virtualService(`{"hosts":["taken.example.com"],"http":[{"route":[{"destination":{"host":"catalog"}}]}]}`)},
		{says: "a Service of another namespace is a warning with its name", op: admissionv1.Create, warned: "spec.hosts[0]: ledger.bank.svc.cluster.local is Service bank/ledger of another namespace",
			after: virtualService(`{"hosts":["ledger.bank.svc.cluster.local"],"http":[{"route":[{"destination":{"host":"catalog"}}]}]}`)},
		{says: "a policy that an older rule has is a warning with its name", op: admissionv1.Create, warned: "spec.trafficPolicy: shop/older is older and has a policy",
			after: object("DestinationRule", `{"host":"catalog","trafficPolicy":{"loadBalancer":{"simple":"ROUND_ROBIN"}}}`)},
		{says: "workloads that an older Sidecar selects are a warning with its name", op: admissionv1.Create, warned: "spec.workloadSelector: without effect: shop/older is older",
			after: object("Sidecar", `{"workloadSelector":{"labels":{"app":"web"}},"egress":[{"hosts":["./*"]}]}`)},
		{says: "a port that an older Gateway serves otherwise is a warning with its name", op: admissionv1.Create, warned: "spec.servers[0]: left out: on port 80 it cannot share a listener with the server of shop/older",
			after: object("Gateway", `{"selector":{"app":"edge"},"servers":[{"port":{"number":80,"name":"tcp","protocol":"TCP"},"hosts":["*"]}]}`)},
		{says: "a kind that is not implemented is refused", op: admissionv1.Create, refused: "EnvoyFilter shop/r: this kind is not implemented by this version",
			after: `{"apiVersion":"networking.istio.io/v1alpha3","kind":"EnvoyFilter","metadata":{"name":"r"},"spec":{}}`},
		{says: "so is one of another group", op: admissionv1.Create, refused: "WasmPlugin shop/r: this kind is not implemented by this version",
			after: `{"apiVersion":"extensions.istio.io/v1alpha1","kind":"WasmPlugin","metadata":{"name":"r"},"spec":{}}`},
		{says: "an Ingress is judged", op: admissionv1.Create, after: ingress("heddle", resource),
			refused: "Ingress shop/r: spec.defaultBackend.resource: not implemented by this version"},
		{says: "an Ingress whose Service is missing is a warning only", op: admissionv1.Create, after: ingress("heddle", `{"service":{"name":"nowhere","port":{"number":80}}}`),
			warned: "Ingress shop/r: spec.defaultBackend.service.name: nowhere.shop.svc.cluster.local is not a known host"},
		{says: "an Ingress of another class is not judged", op: admissionv1.Create, after: ingress("other", resource)},
		{says: "an Ingress that comes to Heddle's class is judged", op: admissionv1.Update, before: ingress("other", resource), after: ingress("heddle", resource), refused: "resource"},
		{says: "an annotation moves an Ingress to Heddle's class", op: admissionv1.Update, before: ingress("other", resource), refused: "resource",
			after: strings.Replace(ingress("other", resource), `"name":"r"`, `"name":"r","annotations":{"kubernetes.io/ingress.class":"heddle"}`, 1)},
		{says: "a class with parameters is refused", op: admissionv1.Create, refused: "IngressClass r: spec.parameters: not implemented by this version",
			after: `{"apiVersion":"networking.k8s.io/v1","kind":"IngressClass","metadata":{"name":"r"},"spec":{"controller":"heddle.dev/ingress-controller","parameters":{"kind":"K","name":"n"}}}`},
		{says: "deletes always pass", op: admissionv1.Delete, before: virtualService(bad)},
		{says: "an update that leaves a bad spec unchanged passes", op: admissionv1.Update, before: virtualService(bad),
			after: strings.Replace(virtualService(bad), `"name":"r"`, `"name":"r","labels":{"a":"b"},"finalizers":[]`, 1)},
		{says: "an annotation that switches a policy off is warned of and passes", op: admissionv1.Update, before: policy(`{}`, `{"action":"DENY","rules":[{}]}`),
			after:  policy(`{"istio.io/dry-run":"true"}`, `{"action":"DENY","rules":[{}]}`),
			warned: "AuthorizationPolicy shop/r: metadata.annotations[istio.io/dry-run]: the policy is not enforced"},
		{says: "on a bad spec that was there before, too", op: admissionv1.Update, before: policy(`{"istio.io/dry-run":"true"}`, `{"action":"CUSTOM"}`),
			after: policy(`{}`, `{"action":"CUSTOM"}`), warned: "CUSTOM: not implemented by this version"},
		{says: "an annotation that says neither yes nor no is refused", op: admissionv1.Create, refused: `metadata.annotations[istio.io/dry-run]: "foo": true or false expected`,
			after: policy(`{"istio.io/dry-run":"foo"}`, `{"action":"DENY","rules":[{}]}`)},
		{says: "so it is on a policy that is there", op: admissionv1.Update, before: policy(`{}`, `{"action":"DENY","rules":[{}]}`), refused: `"foo": true or false expected`,
			after: policy(`{"istio.io/dry-run":"foo"}`, `{"action":"DENY","rules":[{}]}`)},
		{says: "one that was there before passes", op: admissionv1.Update, before: policy(`{"istio.io/dry-run":"foo"}`, `{"action":"DENY","rules":[{}]}`),
			after: policy(`{"istio.io/dry-run":"foo","a":"b"}`, `{"action":"DENY","rules":[{}]}`)},
		{says: "a DENY without rules is refused", op: admissionv1.Create, refused: "spec.rules: DENY without rules denies nothing", after: policy(`{}`, `{"action":"DENY"}`)},
		{says: "of a version that is not known, too", op: admissionv1.Update, before: strings.Replace(virtualService(good), "/v1", "/v0", 1),
			after: strings.Replace(strings.Replace(virtualService(good), "/v1", "/v0", 1), `"name":"r"`, `"name":"r","labels":{"a":"b"}`, 1)},
		{says: "an annotation that nobody understands is warned of", op: admissionv1.Update, before: entry(`{}`), after: entry(`{"networking.istio.io/traffic-distribution":"Nearby"}`),
			warned: "ServiceEntry shop/r: metadata.annotations[networking.istio.io/traffic-distribution]: "},
		{says: "what an update leaves as it was is not told again", op: admissionv1.Update, before: entry(`{"networking.istio.io/traffic-distribution":"Nearby"}`),
			after: entry(`{"networking.istio.io/traffic-distribution":"Nearby","a":"b"}`)},
		{says: "a dry run may be created", op: admissionv1.Create, after: policy(`{"istio.io/dry-run":"true"}`, `{"action":"DENY","rules":[{}]}`),
			warned: "the policy is not enforced"},
		{says: "an update to a bad spec is refused", op: admissionv1.Update, before: virtualService(good), after: virtualService(bad), refused: "bad regular expression"},
	} {
		t.Run(c.says, func(t *testing.T) {
			r := ask(t, c.op, c.before, c.after)
			if r.Allowed != (c.refused == "") {
				t.Fatalf("allowed %v: %v", r.Allowed, r.Result)
			}
			if c.refused != "" && !strings.Contains(r.Result.Message, c.refused) {
				t.Errorf("reason %q, want %q", r.Result.Message, c.refused)
			}
			if got := strings.Join(r.Warnings, "\n"); (c.warned == "") != (got == "") || !strings.Contains(got, c.warned) {
				t.Errorf("warnings %q, want %q", got, c.warned)
			}
		})
	}
}

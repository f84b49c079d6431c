package inputs

import (
	"fmt"
	"testing"
)

// Kubernetes' own kinds are read as strictly as Istio's: whatever the API server would drop or refuse is named, for files that none has seen.
func TestPlainKindsAreReadStrictly(t *testing.T) {
	for _, c := range []struct{ spec, want string }{
		{`{"defaultBackend":{"service":{"name":"a","port":{"number":80}}},"rules":[{"host":"a.b","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{}}]}}]}`, "[]"},
		{`{"rules":[{"hots":"a.b"},{"http":{"paths":[{"backend":{"serviceName":"a"}}]}}],"tsl":[]}`,
			"[{spec.rules[0].hots unknown field} {spec.rules[1].http.paths[0].backend.serviceName unknown field} {spec.tsl unknown field}]"},
		{`{"rules":{"host":"a.b"}}`, "[{spec.rules object is no []v1.IngressRule}]"},
		{`[]`, "[{spec array is no v1.IngressSpec}]"},
		{`null`, "[]"},
	} {
		o, err := Decode([]byte(`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"a"},"spec":` + c.spec + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(o.Issues()); got != c.want && !(c.want == "[]" && len(o.Issues()) == 0) {
			t.Errorf("%s: got %s, want %s", c.spec, got, c.want)
		}
	}
}

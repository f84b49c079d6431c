package debug

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// world is what pilot knows in these tests: one proxy with one resource of each type.
type world map[string]*wire.Resource

func newWorld(t *testing.T) world {
	w := world{}
	add := func(typ, name string, m proto.Message) {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		w[typ] = &wire.Resource{Type: typ, Name: name, Version: "v", Body: body}
	}
	add(wire.TypeCluster, "c", &cluster.Cluster{Name: "c", EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{ServiceName: "e"}})
	add(wire.TypeEndpoints, "e", &endpoint.ClusterLoadAssignment{ClusterName: "e"})
	add(wire.TypeListener, "l", &listener.Listener{Name: "l"})
	w[wire.TypeSecret] = &wire.Resource{Type: wire.TypeSecret, Name: "kubernetes://s", Body: []byte("private")}
	return w
}

func (w world) All(typ string) []*wire.Resource {
	if w[typ] == nil {
		return nil
	}
	return []*wire.Resource{w[typ]}
}

func (w world) Get(_ context.Context, typ, name string) *wire.Resource {
	if r := w[typ]; r != nil && r.Name == name {
		return r
	}
	return nil
}

func (world) Partial(string) bool                    { return false }
func (world) Includes(string, string) bool           { return true }
func (world) Needs(string, string) discovery.Changes { return nil }

func (w world) Clients() []discovery.Client {
	return []discovery.Client{{Pod: "web-1", Namespace: "shop", Types: map[string]discovery.TypeStatus{wire.TypeCluster: {Sent: "2", Acked: "1", Error: "no"}}}}
}

func (w world) ViewOf(proxy string) discovery.View {
	if proxy != "web-1.shop" {
		return nil
	}
	return w
}

func (world) Snapshot() *model.Snapshot {
	return &model.Snapshot{Mesh: &model.Mesh{TrustDomain: "td"}}
}

func (world) ScopeOf(proxy string) string {
	return map[string]string{"web-1.shop": "sidecar in namespace shop\n"}[proxy]
}

func get(t *testing.T, method, path string) (int, string) {
	t.Helper()
	w := newWorld(t)
	h := Handler(Options{Server: w, Publisher: w, Report: func() report.Report { return report.Report{} }})
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(method, path, nil))
	return r.Code, r.Body.String()
}

func TestConfigDumpIsNarrowedAndHidesSecrets(t *testing.T) {
	for query, want := range map[string]string{
		"":                                "Cluster/c ClusterLoadAssignment/e Listener/l",
		"&type=endpoint":                  "ClusterLoadAssignment/e",
		"&type=listeners":                 "Listener/l",
		"&type=Listener&name=other":       "",
		"&type=ClusterLoadAssignment":     "ClusterLoadAssignment/e",
		"&type=secret":                    "",
		"&type=routes":                    "",
		"&name=c":                         "Cluster/c",
		"&type=listener&name=l&x=ignored": "Listener/l",
	} {
		code, body := get(t, http.MethodGet, "/debug/config_dump?proxy=web-1.shop"+query)
		var dump Dump
		if err := json.Unmarshal([]byte(body), &dump); err != nil || code != http.StatusOK {
			t.Fatalf("%s: %d %v: %s", query, code, err, body)
		}
		var got []string
		for _, r := range dump.Resources {
			got = append(got, r.Type+"/"+r.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q shows %v, want %s", query, got, want)
		}
		if strings.Contains(body, "private") || strings.Contains(body, "kubernetes://") {
			t.Errorf("%q shows a secret", query)
		}
	}
}

func TestPages(t *testing.T) {
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/debug/config_dump?proxy=nobody": {http.StatusNotFound, "no such proxy"},
		"/debug/scope?proxy=nobody":       {http.StatusNotFound, "no such proxy"},
		"/debug/scope?proxy=web-1.shop":   {http.StatusOK, "sidecar in namespace shop"},
		"/debug/syncz":                    {http.StatusOK, `"error": "no"`},
		"/debug/snapshot":                 {http.StatusOK, "td"},
		"/debug/report":                   {http.StatusOK, "{"},
		"/debug/other":                    {http.StatusNotFound, ""},
	} {
		if code, body := get(t, http.MethodGet, path); code != want.code || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, _ := get(t, http.MethodPost, "/debug/syncz"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered with %d: debug is read-only", code)
	}
}

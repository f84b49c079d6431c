package install

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	kinds "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest/fake"
)

// records are a release's revisions, the last one in a state since some time.
func records(t *testing.T, state common.Status, age time.Duration) *action.Configuration {
	t.Helper()
	config := action.NewConfiguration()
	config.Releases = storage.Init(driver.NewMemory())
	for version, r := range []release.Info{{Status: common.StatusSuperseded}, {Status: state, LastDeployed: time.Now().Add(-age)}} {
		err := config.Releases.Create(&release.Release{Name: "heddle", Namespace: "default", Version: version + 1, Info: &r,
			Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "c", Version: "1.0.0"}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return config
}

func TestSettled(t *testing.T) {
	for why, c := range map[string]struct {
		state common.Status
		age   time.Duration
		want  string
		left  int
	}{
		"deployed":                  {common.StatusDeployed, 0, "deployed", 2},
		"failed, to be tried again": {common.StatusFailed, 0, "failed", 2},
		"uninstalled, history kept": {common.StatusUninstalled, 0, "", 2},
		"killed on the way":         {common.StatusPendingUpgrade, 2 * time.Minute, "superseded", 1},
	} {
		t.Run(why, func(t *testing.T) {
			i := &Installer{steps: newProgress(io.Discard)}
			config := records(t, c.state, c.age)
			got, err := i.settled(t.Context(), config, "heddle")
			all, _ := config.Releases.History("heddle")
			if err != nil || got != c.want || len(all) != c.left {
				t.Errorf("got %q, %d revisions (%v), want %q, %d", got, len(all), err, c.want, c.left)
			}
		})
	}
}

func TestSettledWaitsForAnotherInstaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		i := &Installer{steps: newProgress(&out)}
		config := records(t, common.StatusPendingUpgrade, time.Second)
		go func() {
			time.Sleep(5 * time.Second)
			found, _ := config.Releases.Last("heddle")
			r, info := *found.(*release.Release), *found.(*release.Release).Info // what the reader holds stays as it is
			info.Status = common.StatusDeployed
			r.Info = &info
			_ = config.Releases.Update(&r)
		}()
		got, err := i.settled(t.Context(), config, "heddle")
		if err != nil || got != "deployed" || !strings.Contains(out.String(), "somebody else's operation") {
			t.Errorf("got %q (%v), said %q", got, err, out.String())
		}
	})
}

// TestTerminating: one object that has gone says nothing of the others, and one that is kept is not waited for.
func TestTerminating(t *testing.T) {
	answers := map[string]string{
		"/namespaces/default/services/going": `{"kind":"Service","apiVersion":"v1","metadata":{"name":"going","deletionTimestamp":"2026-01-01T00:00:00Z"}}`,
		"/namespaces/default/services/kept":  `{"kind":"Service","apiVersion":"v1","metadata":{"name":"kept"}}`,
		"/namespaces/default/services/gone":  "",
	}
	client := &fake.RESTClient{
		NegotiatedSerializer: scheme.Codecs.WithoutConversion(),
		Client: fake.CreateHTTPClient(func(r *http.Request) (*http.Response, error) {
			body, status := answers[r.URL.Path], http.StatusOK
			if body == "" {
				status = http.StatusNotFound
			}
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
		}),
	}
	mapping := &meta.RESTMapping{Resource: kinds.GroupVersionResource{Version: "v1", Resource: "services"},
		GroupVersionKind: kinds.GroupVersionKind{Version: "v1", Kind: "Service"}, Scope: meta.RESTScopeNamespace}
	var objects kube.ResourceList
	for _, name := range []string{"gone", "going", "kept"} {
		objects = append(objects, &resource.Info{Client: client, Mapping: mapping, Namespace: "default", Name: name})
	}
	if got, err := terminating(objects); err != nil || got != "Service going to end" {
		t.Errorf("got %q (%v)", got, err)
	}
	if got, err := terminating(objects[:1]); err != nil || got != "" {
		t.Errorf("got %q (%v) with all gone", got, err)
	}
}

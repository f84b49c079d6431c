package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/manifests/dashboards"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// prometheusConfig scrapes the targets of a file: Debian's Prometheus is built without discovery in Kubernetes.
const prometheusConfig = `
global: {scrape_interval: 2s}
scrape_configs:
  - job_name: pods
    file_sd_configs: [{files: [%q]}]
`

// targets writes down what pods ask for by annotation, as people's Prometheus finds it.
func targets(t *testing.T, c *tour.Cluster, path string) {
	t.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	var groups []group
	pods, err := c.Pods(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if a := p.Annotations; a["prometheus.io/scrape"] == "true" {
			groups = append(groups, group{[]string{p.Status.PodIP + ":" + a["prometheus.io/port"]},
				map[string]string{"__metrics_path__": cmp.Or(a["prometheus.io/path"], "/metrics"), "namespace": p.Namespace, "pod": p.Name}})
		}
	}
	text, err := json.Marshal(groups)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil || len(groups) == 0 {
		t.Fatalf("%d pods to scrape, error %v", len(groups), err)
	}
}

// prometheus is one that runs on this machine.
type prometheus struct{ address string }

// startPrometheus runs Debian's Prometheus until the test ends.
func startPrometheus(t *testing.T, c *tour.Cluster) prometheus {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		install := exec.Command("sh", "-c", "apt-get install -y --no-install-recommends prometheus || { apt-get update && apt-get install -y --no-install-recommends prometheus; }")
		install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("installing prometheus: %v\n%s", err, out)
		}
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	found := filepath.Join(dir, "targets.json")
	targets(t, c, found)
	if err := os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, found), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := prometheus{ports.Address(t)}
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // ours
		_ = cmd.Wait()         // killed
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("prometheus said:\n%s", text[max(0, len(text)-3000):])
		}
	})
	return p
}

// query asks Prometheus and returns how many series answer with a number.
func (p prometheus) query(ctx context.Context, expr string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s", answer.Error)
	}
	n := 0
	for _, r := range answer.Data.Result {
		if v, _ := r.Value[1].(string); v != "NaN" {
			n++
		}
	}
	return n, nil
}

var variables = strings.NewReplacer("$__rate_interval", "1m", "$namespace", ".*", "$workload", ".*")

func TestEveryPanelHasData(t *testing.T) {
	c := connect(t)
	if err := c.Sample(t.Context(), "mtls/strict.yaml", tour.ShopNamespace); err != nil { // who scrapes is no member of the mesh
		t.Fatal(err)
	}
	prom := startPrometheus(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	visits := make(chan struct{})
	go func() { // something to see, while Prometheus looks: traffic, and routes that change
		defer close(visits)
		for n := 0; ctx.Err() == nil; n++ {
			_ = c.Sample(ctx, []string{"canary/by-user.yaml", "canary/90-10.yaml"}[n%2], tour.ShopNamespace) // panels show what came of it
			_ = c.Visit(ctx)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-visits
		for _, sample := range []string{"canary/90-10.yaml", "mtls/strict.yaml"} {
			if err := c.Remove(context.Background(), sample, tour.ShopNamespace); err != nil {
				t.Error(err)
			}
		}
	})
	eventually(t, ctx, 30*time.Second, func() error {
		up, err := prom.query(ctx, `up{namespace="shop"} == 1`)
		if err != nil {
			return err
		}
		all, err := prom.query(ctx, `up{namespace="shop"}`)
		if err == nil && (up == 0 || up < all) {
			err = fmt.Errorf("prometheus has scraped %d of %d pods of the shop, which takes mutual TLS only", up, all)
		}
		return err
	})
	paths, err := fs.Glob(dashboards.FS, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		raw, err := dashboards.FS.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				t.Run(path+"/"+p.Title, func(t *testing.T) {
					eventually(t, ctx, time.Minute, func() error {
						n, err := prom.query(ctx, variables.Replace(target.Expr))
						if err == nil && n == 0 {
							err = fmt.Errorf("no data for %s", target.Expr)
						}
						return err
					})
				})
			}
		}
	}
}

package engine_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestHealthChecks holds that a gateway asks its application whether it lives, as the control plane says, and asks nothing else of one that does not.
func TestHealthChecks(t *testing.T) {
	var sick atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live" && sick.Load() {
			w.WriteHeader(500)
		}
		fmt.Fprintf(w, "hello %s", r.Host)
	}))
	t.Cleanup(app.Close)
	const checks = "type: STATIC\ncommon_lb_config: {healthy_panic_threshold: {}}\n" +
		"health_checks: [{timeout: 5s, interval: 0.02s, no_traffic_interval: 0.02s, unhealthy_threshold: 2, healthy_threshold: 1, http_health_check: {path: /live}}]\n"
	w, p := gateway(t, strings.Replace(gatewayResources, "type: STATIC\n", checks, 1), app.Listener.Addr().String())
	expectAt := func(status int, text string) {
		t.Helper()
		eventually(t, fmt.Sprint(status), func() error {
			got, body, err := get("http://127.0.0.1:"+w.Inbound+"/", "shop")
			if err == nil && (got != status || !strings.Contains(body, text)) {
				err = fmt.Errorf("%d %s", got, body)
			}
			return err
		})
	}
	expectAt(200, "hello shop")
	sick.Store(true)
	expectAt(503, "no healthy upstream")
	if _, body, err := get("http://"+p.admin+"/clusters", ""); err != nil || !strings.Contains(body, `"healthy": false`) && !strings.Contains(body, `"healthy":false`) {
		t.Errorf("%v\n%s", err, body)
	}
	sick.Store(false)
	expectAt(200, "hello shop")
	metric(t, p, 0, "heddle_proxy_panics_total")
}

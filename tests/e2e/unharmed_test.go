package e2e

import (
	"testing"

	"github.com/heddle-mesh/heddle/tests/tour"
)

// TestNoPanics reads what every proxy of the demo counted, gateways included: a recovered panic is a defect. The file's name puts it after
// all that gives proxies something to do, the tour above all, and before the uninstallation.
func TestNoPanics(t *testing.T) {
	c := connect(t)
	for _, namespace := range tour.Namespaces() {
		pods, err := c.Pods(t.Context(), namespace, "")
		if err != nil {
			t.Fatal(err)
		}
		proxies := 0
		for i := range pods {
			if !tour.HasProxy(&pods[i]) {
				continue
			}
			proxies++
			n, series, err := c.PodMetric(t.Context(), &pods[i], "heddle_proxy_panics_total", nil)
			if err != nil {
				t.Fatal(err)
			}
			if series != 1 || n != 0 {
				t.Errorf("%s/%s: %v panics were recovered, by %d series", namespace, pods[i].Name, n, series)
			}
		}
		if meshed := namespace != tour.PlainNamespace; meshed != (proxies > 0) {
			t.Errorf("%d proxies in namespace %s", proxies, namespace)
		}
	}
}

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/tests/tour"
)

// TestNoPanics reads what every proxy of the demo counted, gateways included, and what all proxies logged since the first test, those too
// whose pods are gone: a recovered panic is a defect. The file's name puts it after all that gives proxies something to do, the tour above
// all, and before the uninstallation.
func TestNoPanics(t *testing.T) {
	c := connect(t)
	paths, lines, panics := logs.read()
	for _, found := range panics {
		t.Errorf("a panic: %s", found)
	}
	if lines == 0 {
		t.Error("no proxy logged anything: the journal reads the wrong files")
	}
	t.Logf("read %d lines of %d logs of proxies", lines, len(paths))
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
			log := fmt.Sprintf("/%s_%s_%s/", namespace, pods[i].Name, pods[i].UID)
			if !slices.ContainsFunc(paths, func(path string) bool { return strings.Contains(path, log) }) {
				t.Errorf("the log of %s/%s is not among those that were read", namespace, pods[i].Name)
			}
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

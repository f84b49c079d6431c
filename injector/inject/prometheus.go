package inject

import (
	"encoding/json"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Annotations by which Prometheus finds a pod.
const (
	annotationScrape = "prometheus.io/scrape"
	annotationPort   = "prometheus.io/port"
	annotationPath   = "prometheus.io/path"
	annotationScheme = "prometheus.io/scheme"
	annotationMerge  = "prometheus.istio.io/merge-metrics"
)

// Defaults of an application that says it is to be scraped, and no more.
const (
	defaultMetricsPort = 80
	defaultMetricsPath = "/metrics"
)

// mergePrometheus points Prometheus at the proxy and returns, as JSON, where the application's own metrics are ("": nowhere). A pod
// that forbids scraping or serves its metrics over TLS stays as it is.
func mergePrometheus(pod *corev1.Pod) string {
	a := pod.Annotations
	scrape, said := a[annotationScrape]
	if yes, err := parseBool(scrape); said && (err != nil || !yes) || a[annotationScheme] == "https" {
		return ""
	}
	app := wire.AppPrometheus{Port: defaultMetricsPort, Path: firstOf(a[annotationPath], defaultMetricsPath)}
	if text, ok := a[annotationPort]; ok {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return "" // Prometheus could not use it either
		}
		app.Port = int32(port)
	}
	a[annotationScrape] = "true"
	a[annotationPort] = strconv.Itoa(wire.PortStatus)
	a[annotationPath] = wire.PathPrometheus
	if !said || app.Port == wire.PortStatus {
		return ""
	}
	text, err := json.Marshal(app)
	if err != nil {
		panic("inject: an AppPrometheus is always JSON: " + err.Error())
	}
	return string(text)
}

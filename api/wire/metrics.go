package wire

import "strings"

// ListenerMetrics is the filter metadata of a listener that says what is not counted: for names of Metrics, MetricOff, or else the labels
// of MetricLabels that are left out, separated by commas; and for "METRIC.label" an expression of CEL that the label's value is.
const (
	ListenerMetrics = "heddle.metrics"
	MetricOff       = "off"
)

// ListenerReporting is the filter metadata of a listener that says, by ReportingInterval, how often what open TCP connections have carried is counted.
const (
	ListenerReporting = "heddle.reporting"
	ReportingInterval = "interval"
)

// Metrics returns the metrics of traffic by the names that Istio's Telemetry API has for them: those of requests, then those of connections.
func Metrics() []string {
	return []string{"REQUEST_COUNT", "REQUEST_DURATION", "REQUEST_SIZE", "RESPONSE_SIZE",
		"TCP_OPENED_CONNECTIONS", "TCP_CLOSED_CONNECTIONS", "TCP_SENT_BYTES", "TCP_RECEIVED_BYTES"}
}

// MetricLabels returns the labels of the metrics of traffic.
func MetricLabels() []string {
	return []string{"reporter", "source_workload", "source_workload_namespace", "source_principal", "source_app", "source_version", "source_cluster",
		"source_canonical_service", "source_canonical_revision", "destination_workload", "destination_workload_namespace", "destination_principal",
		"destination_app", "destination_version", "destination_cluster", "destination_canonical_service", "destination_canonical_revision",
		"destination_service", "destination_service_name", "destination_service_namespace", "request_protocol", "response_code",
		"grpc_response_status", "response_flags", "connection_security_policy"}
}

// MetricLabel reports whether metrics may have a label of a name.
func MetricLabel(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return name != "" && !strings.HasPrefix(name, "__") && name != "le"
}

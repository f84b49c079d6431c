// Package telemetry counts, logs and traces what the data path tells it through exchange.Recorder. It names every metric and label of
// traffic; it must not import metrics or tracing libraries (export does), block a request, or believe what a client says of itself: a peer
// is who its certificate proves, and what endpoint facts say of that identity at that address.
package telemetry

import "github.com/heddle-mesh/heddle/api/wire"

// Names of the metrics, those that dashboards for Istio ask for.
const (
	MetricRequests      = "istio_requests_total"
	MetricDuration      = "istio_request_duration_milliseconds"
	MetricRequestBytes  = "istio_request_bytes"
	MetricResponseBytes = "istio_response_bytes"
	MetricTCPOpened     = "istio_tcp_connections_opened_total"
	MetricTCPClosed     = "istio_tcp_connections_closed_total"
	MetricTCPSent       = "istio_tcp_sent_bytes_total"
	MetricTCPReceived   = "istio_tcp_received_bytes_total"
	MetricPanics        = "heddle_proxy_panics_total"
	MetricOverflow      = "heddle_telemetry_series_overflow_total"
	MetricRefused       = "heddle_proxy_connections_refused_total"
	MetricMalformed     = "heddle_proxy_malformed_requests_total"
	MetricLogDropped    = "heddle_access_log_dropped_total"
	MetricSpansDropped  = "heddle_spans_dropped_total"
)

// Recovered is how the log line of a panic begins that MetricPanics counts.
const Recovered = "recovered from a panic"

// The labels, in the order of Labels.
const (
	reporter = iota
	sourceWorkload
	sourceWorkloadNamespace
	sourcePrincipal
	sourceApp
	sourceVersion
	sourceCluster
	sourceCanonicalService
	sourceCanonicalRevision
	destinationWorkload
	destinationWorkloadNamespace
	destinationPrincipal
	destinationApp
	destinationVersion
	destinationCluster
	destinationCanonicalService
	destinationCanonicalRevision
	destinationService
	destinationServiceName
	destinationServiceNamespace
	requestProtocol
	responseCode
	grpcResponseStatus
	responseFlags
	connectionSecurityPolicy
	ownLabels // all labels that users have added, as one text
	labelCount
)

// LabelNames returns the names of the labels, in the order of Labels.
func LabelNames() []string { return wire.MetricLabels() }

// Labels are the values of one series.
type Labels [labelCount]string

const unknown = "unknown"

// Package dashboards carries the Grafana dashboards. They ask for the metrics that sidecar/telemetry and heddled export and for nothing else.
package dashboards

import "embed"

// FS holds the dashboards: *.json.
//
//go:embed *.json
var FS embed.FS

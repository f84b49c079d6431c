// Package samples carries the YAML of every sample, so that the tour applies the very files that the READMEs name.
package samples

import "embed"

// FS holds the samples' YAML by path: "canary/90-10.yaml".
//
//go:embed */*.yaml
var FS embed.FS

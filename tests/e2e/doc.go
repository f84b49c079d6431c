// Package e2e tests Heddle on a real Kubernetes that has it installed, with the sample shop and its gateways: `make test` starts all that.
package e2e

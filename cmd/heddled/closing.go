package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/ca/bundle"
	"github.com/heddle-mesh/heddle/pilot/admission"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// closing closes validation once the API server reaches it. While an istiod runs in the cluster, which it would only warn, it stays as it is: an outage of
// ours is not to stand in Istio's way.
func closing(writer client.Writer, snapshot func() *model.Snapshot) *bundle.Closing {
	return &bundle.Closing{Webhook: admission.Webhook, Refuses: func(ctx context.Context) (bool, error) {
		if s := snapshot(); s == nil || s.BesideIstio {
			return false, nil
		}
		err := writer.Create(ctx, admission.Probe(), client.DryRunAll)
		if err == nil || admission.Refused(err) {
			return err != nil, nil
		}
		return false, fmt.Errorf("creating what is to be refused, in a dry run: %w", err)
	}}
}

package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/revision"
)

// InjectionPath is where a control plane tells what its webhook would use now.
const InjectionPath = "/debug/injection"

// ReadInjection asks the control plane of a revision for the parameters of its injection webhook.
func ReadInjection(ctx context.Context, kube kubernetes.Interface, ask Asker, of string) (inject.Params, error) {
	var p inject.Params
	replicas, err := running(ctx, kube, wire.SystemNamespace, "app="+revision.Name(wire.DiscoveryService, of))
	if err != nil {
		return p, err
	}
	if len(replicas) == 0 {
		return p, fmt.Errorf("no control plane of revision %s runs in namespace %s", revision.Label(of), wire.SystemNamespace)
	}
	answer, err := ask.Ask(ctx, wire.SystemNamespace, replicas[0].Name, wire.PortMonitoring, http.MethodGet, InjectionPath)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return p, fmt.Errorf("reading the control plane's injection parameters: %w", err)
	}
	return p, nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/injector/webhook"
	"github.com/heddle-mesh/heddle/internal/observe"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// nodesFresh is how long an answer about the nodes' versions holds: they change when somebody upgrades a node.
const nodesFresh = 10 * time.Second

// injection makes what the injection webhook needs of the configuration and the cluster.
type injection struct {
	params  inject.Params
	auto    bool // native sidecars where every node has them
	cluster *cluster
	mesh    func() *injects
	log     *slog.Logger

	mu     sync.Mutex
	native bool
	asked  time.Time
}

// injects is what the mesh's settings say of injections.
type injects struct {
	merge         bool // the application's metrics into the proxy's
	dns, allocate bool // proxies answer DNS questions; with addresses that the mesh gave to ServiceEntries
	onDemand      bool // proxies ask for what they use
	root          string
	proxy         inject.ProxyConfig
	proxies       []inject.ProxyConfig
}

// injectsOf reads what a snapshot says of injections; merge is what the settings say of metrics.
func injectsOf(s *model.Snapshot, merge bool) *injects {
	out := &injects{merge: merge, dns: s.Mesh.DNSCapture, allocate: !s.Mesh.DNSUnallocated, onDemand: s.Mesh.OnDemand, root: s.Mesh.RootNamespace, proxy: runs(&s.Mesh.Proxy)}
	for _, c := range s.ProxyConfigs {
		out.proxies = append(out.proxies, runs(c))
	}
	return out
}

// runs is how proxies run.
func runs(c *model.ProxyConfig) inject.ProxyConfig {
	return inject.ProxyConfig{Namespace: c.From.Namespace, Selector: c.Selector, Concurrency: c.Concurrency, Environment: c.Environment, Hold: c.Hold,
		Drain: c.TerminationDrain, Restart: c.RestartDrain}
}

func newInjection(c config, cl *cluster, mesh func() *injects, log *slog.Logger) *injection {
	p := inject.DefaultParams(c.proxy.image, version)
	p.PullPolicy, p.PullSecrets, p.LogLevel, p.DrainDuration = c.proxy.pullPolicy, c.proxy.pullSecrets, c.proxy.logLevel, c.proxy.drain
	p.NeverInject, p.AlwaysInject, p.IstioLabels = c.proxy.never, c.proxy.always, c.proxy.istioLabels
	p.DiscoveryAddress = fmt.Sprintf("%s.%s.svc:%d", revision.Name(wire.DiscoveryService, c.revision), c.namespace, wire.PortDiscovery)
	p.Revision = c.revision
	p.Audience, p.TrustDomain, p.ClusterID, p.ClusterDomain = c.audience, c.trustDomain, c.clusterID, c.domain
	p.CertTTL, p.Resources = c.certTTL, c.proxy.resources
	p.Native = c.proxy.native == nativeTrue
	return &injection{params: p, auto: c.proxy.native == nativeAuto, cluster: cl, mesh: mesh, log: log}
}

func (i *injection) handler(metrics *observe.Metrics) (http.Handler, error) {
	h, err := webhook.New(webhook.Config{Params: i.current, NamespaceLabels: i.namespaceLabels, Meter: metrics.Meter("injector"), Log: i.log})
	if err != nil {
		return nil, fmt.Errorf("making the injection webhook: %w", err)
	}
	return h, nil
}

// debug tells what is used for injections now, so that the command line can use the same.
func (i *injection) debug(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(i.current()); err != nil {
		i.log.Warn("answering what is used for injections", "err", err)
	}
}

// current is what the mesh says about injections now.
func (i *injection) current() inject.Params {
	p := i.params
	said := i.mesh()
	p.MergePrometheus, p.DNSCapture, p.DNSAllocate, p.OnDemand = said.merge, said.dns, said.allocate, said.onDemand
	p.Proxy, p.ProxyConfigs = said.proxy, said.proxies
	if said.root != "" {
		p.RootNamespace = said.root
	}
	if i.auto {
		p.Native = i.everyNodeIsNative()
	}
	return p
}

// everyNodeIsNative asks the cache, now and then. Where it does not answer, the last answer holds, and before any an ordinary
// container is what runs everywhere.
func (i *injection) everyNodeIsNative() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Since(i.asked) < nodesFresh {
		return i.native
	}
	var nodes core.NodeList
	if err := i.cluster.cache.List(context.Background(), &nodes, client.UnsafeDisableDeepCopy); err != nil {
		i.log.Warn("the nodes' versions are not to be had", "err", err)
		return i.native
	}
	versions := make([]string, 0, len(nodes.Items))
	for n := range nodes.Items {
		versions = append(versions, nodes.Items[n].Status.NodeInfo.KubeletVersion)
	}
	i.native, i.asked = inject.NativeSupported(versions), time.Now()
	return i.native
}

// namespaceLabels asks the API server, since a pod may be made right after its namespace was labelled, and the cache where that
// does not answer.
func (i *injection) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	live, err := i.cluster.kube.CoreV1().Namespaces().Get(ctx, name, meta.GetOptions{})
	if err == nil {
		return live.Labels, nil
	}
	cached := &core.Namespace{}
	if i.cluster.cache.Get(ctx, client.ObjectKey{Name: name}, cached) == nil {
		return cached.Labels, nil
	}
	return nil, err
}

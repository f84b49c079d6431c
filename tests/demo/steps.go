package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/tests/tour"
)

const clusterFolder = "tests/cluster"

func startCluster(ctx context.Context, p *play) error {
	return p.shown(ctx, clusterFolder, []string{"CGO_ENABLED=0"}, "go", "run", "./cmd/cluster", "up")
}

func loadImages(ctx context.Context, p *play) error {
	args := []string{"run", "./cmd/cluster", "load"}
	archives := []string{sampleArchive}
	for _, b := range binaries {
		archives = append(archives, filepath.Join(outFolder, b.image+".tar"))
	}
	for _, a := range archives {
		path, err := filepath.Abs(a)
		if err != nil {
			return err
		}
		args = append(args, path)
	}
	return p.command(ctx, clusterFolder, []string{"CGO_ENABLED=0"}, "go", args...)
}

func connect(_ context.Context, p *play) error {
	config, err := p.access().ClientConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	if p.cluster, err = tour.Connect(config); err != nil {
		return err
	}
	if !p.own {
		return nil
	}
	return p.cluster.Own()
}

// access is how the cluster is reached: by the demo's own file, or by a context of any of the files that the user's KUBECONFIG names.
func (p *play) access() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if p.own {
		rules = &clientcmd.ClientConfigLoadingRules{ExplicitPath: p.kubeconfig}
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: p.context})
}

// agree says what the demo will do on a cluster of the user's, and asks.
func (p *play) agree(_ context.Context) error {
	fmt.Printf("On the cluster of context %q the demo creates the namespaces heddle-system, %s, Heddle's CRDs, cluster roles and webhooks,\n"+
		"and pushes three images to %s. Heddle keeps a ConfigMap, %s, with the mesh's public root in every namespace. Nothing else is touched.\n",
		p.context, strings.Join(tour.Namespaces(), ", "), p.registry, wire.RootConfigMap)
	if p.yes {
		return nil
	}
	fmt.Print("Go on? [y/N] ")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y") {
		return errors.New("not confirmed")
	}
	return nil
}

// refuse ends the demo on a cluster of the user's that has Heddle, or a namespace of a name that the demo uses: both are somebody's.
func refuse(ctx context.Context, p *play) error {
	taken, err := p.cluster.Taken(ctx)
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		return fmt.Errorf("on the cluster of context %q there is already: %s; the demo leaves that alone", p.context, strings.Join(taken, ", "))
	}
	return nil
}

// certTTL is short, so that the tour sees a certificate renewed, and long enough that one whose renewal falls into the outage outlives it.
const certTTL = "certTTL=200s"

// install installs Heddle, or upgrades what an earlier demo installed. Where that one was taken away together with its root, the shop that it
// left on the demo's own cluster goes too.
func install(ctx context.Context, p *play) error {
	err := p.installHeddle(ctx)
	if err == nil || !p.own || !strings.Contains(err.Error(), authority.ErrForeignProxies.Error()) {
		return err
	}
	fmt.Println("  the shop trusts a root that is gone: it is deployed anew")
	if err := p.cluster.Forget(ctx); err != nil {
		return err
	}
	return p.installHeddle(ctx)
}

func (p *play) installHeddle(ctx context.Context) error {
	return p.meshctl(ctx, "install", "--set", "image.registry="+p.registry, "--set", "image.tag="+p.tag, "--set", "accessLog.enabled=true", "--set", certTTL, "--set", "tracing.sampling=100")
}

// clearStage removes what an earlier tour left.
func clearStage(ctx context.Context, p *play) error { return p.cluster.Clear(ctx) }

func deployShop(ctx context.Context, p *play) error {
	p.cluster.Image = p.image("shop")
	for _, s := range []struct{ path, namespace string }{
		{"shop/namespaces.yaml", ""}, {"shop/shop.yaml", tour.ShopNamespace}, {"shop/plain.yaml", tour.PlainNamespace}, {"shop/elsewhere.yaml", tour.OtherNamespace},
	} {
		if err := p.cluster.Sample(ctx, s.path, s.namespace); err != nil {
			return err
		}
	}
	if !p.own {
		return nil
	}
	return p.cluster.Sample(ctx, "egress/clients.yaml", tour.ShopNamespace)
}

// ingresses and egresses are the demo's gateways, and with what arguments each is installed. Only the demo's own cluster has a node for egress.
var (
	ingresses = map[string][]string{"internet": {"--set", "istio=ingressgateway"}, "intranet": nil}
	egresses  = map[string][]string{"egress": {"-f", "samples/egress/gateway.values.yaml"}}
)

func deployGateways(ctx context.Context, p *play) error {
	if err := p.cluster.Secrets(ctx); err != nil {
		return err
	}
	common := []string{"--namespace", tour.GatewayNamespace, "--reset-values"} // an earlier demo may have said more
	gateways := maps.Clone(ingresses)
	other, err := p.cluster.Doorkeeper(ctx)
	if err != nil {
		return err
	}
	if other != "" {
		fmt.Printf("  %s is this cluster's istio: ingressgateway: the demo's gateway goes without that label\n", other)
		gateways["internet"] = nil
	}
	if p.own {
		maps.Copy(gateways, egresses)
	}
	for name, extra := range gateways {
		if err := p.meshctl(ctx, append(append([]string{"gateway", "install", name}, common...), extra...)...); err != nil {
			return err
		}
	}
	return nil
}

// waitReady waits for everything, and starts pods again whose proxy is an older one.
func waitReady(ctx context.Context, p *play) error {
	if err := p.cluster.Refresh(ctx, p.image("heddle-proxy"), tour.ShopNamespace, tour.OtherNamespace); err != nil {
		return err
	}
	for _, n := range tour.Namespaces() {
		if err := p.cluster.WaitReady(ctx, n, 3*time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// closing says how to go on.
func (p *play) closing(ctx context.Context) {
	fmt.Println()
	if addr, err := p.cluster.GatewayAddress(ctx, "internet"); err == nil {
		fmt.Printf("the shop's page:   curl -k --resolve %s:443:%s https://%s/\n", tour.PublicHost, addr, tour.PublicHost)
	}
	if p.own {
		tree, err := os.Getwd()
		if err != nil {
			tree = "."
		}
		fmt.Print(farewell(p.kubeconfig, tree))
		return
	}
	fmt.Printf("stop it all:       kubectl --context %[1]s delete namespace %[2]s && bin/meshctl uninstall --context %[1]s --purge\n", p.context,
		strings.Join(tour.Namespaces(), " "))
}

// farewell says how the demo's own cluster is reached, and with what: not every machine has a kubectl. One that is there stays the first.
func farewell(kubeconfig, tree string) string {
	return fmt.Sprintf("its cluster:       export KUBECONFIG=%s\nkubectl, meshctl:  export PATH=\"$PATH:%s:%s\"\nstop it all:       make cluster-down\n",
		kubeconfig, filepath.Join(filepath.Dir(kubeconfig), "bin"), filepath.Join(tree, binFolder))
}

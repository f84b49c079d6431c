package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/heddle-mesh/heddle/tests/tour"
)

const clusterFolder = "tests/cluster"

func startCluster(ctx context.Context, p *play) error {
	return p.command(ctx, clusterFolder, []string{"CGO_ENABLED=0"}, "go", "run", "./cmd/cluster", "up")
}

func loadImages(ctx context.Context, p *play) error {
	args := []string{"run", "./cmd/cluster", "load"}
	for _, b := range binaries {
		path, err := filepath.Abs(filepath.Join(outFolder, b.image+".tar"))
		if err != nil {
			return err
		}
		args = append(args, path)
	}
	return p.command(ctx, clusterFolder, []string{"CGO_ENABLED=0"}, "go", args...)
}

func connect(_ context.Context, p *play) error {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: p.kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: p.context}).ClientConfig()
	if err != nil {
		return fmt.Errorf("reading %s: %w", p.kubeconfig, err)
	}
	if p.cluster, err = tour.Connect(config); err != nil {
		return err
	}
	if !p.own {
		return nil
	}
	return p.cluster.Own()
}

// agree says what the demo will do on a cluster of the user's, and asks.
func (p *play) agree(_ context.Context) error {
	fmt.Printf("On the cluster of context %q the demo creates the namespaces heddle-system, %s, %s, %s and %s, Heddle's CRDs, cluster roles and webhooks,\n"+
		"and pushes three images to %s. It touches nothing else.\n", p.context, tour.GatewayNamespace, tour.ShopNamespace, tour.PlainNamespace, tour.OtherNamespace, p.registry)
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

// install installs Heddle, or upgrades what an earlier demo installed. Certificates are short-lived, so that the tour sees one renewed.
func install(ctx context.Context, p *play) error {
	return p.meshctl(ctx, "install", "--set", "image.registry="+p.registry, "--set", "image.tag="+p.tag, "--set", "accessLog.enabled=true", "--set", "certTTL=3m", "--set", "tracing.sampling=100")
}

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

func deployGateways(ctx context.Context, p *play) error {
	if err := p.cluster.Secrets(ctx); err != nil {
		return err
	}
	common := []string{"--namespace", tour.GatewayNamespace, "--set", "image.registry=" + p.registry, "--set", "image.tag=" + p.tag, "--set", "certTTL=3m"}
	gateways := map[string][]string{"internet": {"--set", "istio=ingressgateway"}, "intranet": nil}
	if p.own {
		gateways["egress"] = []string{"-f", "samples/egress/gateway.values.yaml"}
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
	for _, n := range []string{tour.ShopNamespace, tour.PlainNamespace, tour.OtherNamespace, tour.GatewayNamespace} {
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
		fmt.Printf("its cluster:       export KUBECONFIG=%s\nstop it all:       make cluster-down\n", p.kubeconfig)
		return
	}
	fmt.Printf("stop it all:       kubectl --context %[1]s delete namespace %s %s %s %s && bin/meshctl uninstall --context %[1]s --purge\n", p.context,
		tour.ShopNamespace, tour.PlainNamespace, tour.OtherNamespace, tour.GatewayNamespace)
}

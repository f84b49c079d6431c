// Package balancer gives Services of type LoadBalancer an address, and leads the machine to it. Delivering the traffic is kube-proxy's
// work, not its own.
package balancer

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
)

// Balancer assigns addresses from the plan's pool.
type Balancer struct {
	client   kubernetes.Interface
	plan     plan.Plan
	log      *slog.Logger
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	routes   map[netip.Addr]netip.Addr // the routes that differ from the pool's
	route    func(args ...string) error
}

// New makes a balancer that sets the machine's routes with iproute2.
func New(client kubernetes.Interface, p plan.Plan, log *slog.Logger) *Balancer {
	return &Balancer{client: client, plan: p, log: log, routes: map[netip.Addr]netip.Addr{}, route: ip}
}

// Run works until the context ends.
func (b *Balancer) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(b.client, time.Minute)
	b.services, b.slices = factory.Core().V1().Services().Lister(), factory.Discovery().V1().EndpointSlices().Lister()
	changed := make(chan struct{}, 1)
	wake := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: wake, UpdateFunc: func(_, o any) { wake(o) }, DeleteFunc: wake}
	for _, informer := range []cache.SharedIndexInformer{factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("watching: %w", err)
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done())
	if err := b.begin(); err != nil {
		return err
	}
	for {
		if err := b.reconcile(ctx); err != nil {
			b.log.Warn("balancing; trying again", "error", err)
			time.AfterFunc(500*time.Millisecond, func() { wake(nil) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// begin leaves no route of an earlier run: the whole pool leads to one node.
func (b *Balancer) begin() error {
	pool := b.plan.Pool.String()
	if err := b.route("route", "flush", "root", pool); err != nil {
		return err
	}
	return b.route("route", "replace", pool, "via", b.plan.Nodes[0].Address.String())
}

// reconcile gives every Service that asks for an address one, and takes it from those that no longer do.
func (b *Balancer) reconcile(ctx context.Context) error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	given, err := Assign(b.plan.Pool, services)
	if err != nil {
		return err
	}
	wanted := map[netip.Addr]netip.Addr{}
	for _, s := range services {
		if s.Spec.LoadBalancerClass != nil {
			continue // somebody else's
		}
		address, ok := given[s.Namespace+"/"+s.Name]
		if err := b.publish(ctx, s, address); err != nil {
			return err
		}
		if !ok || s.Spec.ExternalTrafficPolicy != core.ServiceExternalTrafficPolicyLocal {
			continue
		}
		if node, ok := b.holder(s); ok {
			wanted[address] = node
		}
	}
	return b.lead(wanted)
}

// publish writes the address into the Service's status where it is not there yet; an invalid address empties the status.
func (b *Balancer) publish(ctx context.Context, s *core.Service, address netip.Addr) error {
	var ingress []core.LoadBalancerIngress
	if address.IsValid() {
		ingress = []core.LoadBalancerIngress{{IP: address.String()}}
	}
	now := s.Status.LoadBalancer.Ingress
	if len(now) == len(ingress) && (len(now) == 0 || now[0].IP == ingress[0].IP) {
		return nil
	}
	s = s.DeepCopy()
	s.Status.LoadBalancer.Ingress = ingress
	if _, err := b.client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, meta.UpdateOptions{}); err != nil {
		return fmt.Errorf("giving %s/%s the address %s: %w", s.Namespace, s.Name, address, err)
	}
	b.log.Info("address given", "service", s.Namespace+"/"+s.Name, "address", address)
	return nil
}

// holder is the address of a node with a ready endpoint of the Service. Traffic that must stay on the node that it reaches has to be led there.
func (b *Balancer) holder(s *core.Service) (netip.Addr, bool) {
	slices, err := b.slices.EndpointSlices(s.Namespace).List(labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: s.Name}))
	if err != nil {
		return netip.Addr{}, false
	}
	ready := map[string]bool{}
	for _, slice := range slices {
		for _, e := range slice.Endpoints {
			if e.NodeName != nil && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
				ready[*e.NodeName] = true
			}
		}
	}
	for _, n := range b.plan.Nodes {
		if ready[n.Name] {
			return n.Address, true
		}
	}
	return netip.Addr{}, false
}

// lead makes the machine's routes the wanted ones.
func (b *Balancer) lead(wanted map[netip.Addr]netip.Addr) error {
	for to, via := range wanted {
		if b.routes[to] == via {
			continue
		}
		if err := b.route("route", "replace", to.String(), "via", via.String()); err != nil {
			return err
		}
		b.routes[to] = via
	}
	for to := range b.routes {
		if _, ok := wanted[to]; ok {
			continue
		}
		if err := b.route("route", "del", to.String()); err != nil {
			return err
		}
		delete(b.routes, to)
	}
	return nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %s: %w", strings.Join(args, " "), strings.TrimSpace(string(out)), err)
	}
	return nil
}

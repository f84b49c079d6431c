package tour

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heddle-mesh/heddle/api/wire"
)

const outage = time.Minute

// Scale sets the replicas of a Deployment and waits until they are ready or gone.
func (c *Cluster) Scale(ctx context.Context, namespace, name string, replicas int32) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if _, err := c.kube.AppsV1().Deployments(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("scaling %s to %d: %w", name, replicas, err)
	}
	return c.Settled(ctx, namespace, name)
}

// Roll starts a Deployment's pods again, and does not wait for them.
func (c *Cluster) Roll(ctx context.Context, namespace, name string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := c.kube.AppsV1().Deployments(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("restarting %s: %w", name, err)
	}
	return nil
}

// Settled waits until a Deployment has rolled out.
func (c *Cluster) Settled(ctx context.Context, namespace, name string) error {
	return eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
		d, err := c.kube.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		return rolledOut(d)
	})
}

// survival is claim 11.
func survival(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "canary/subsets.yaml", "canary/90-10.yaml"); err != nil {
		return err
	}
	if err := s.begun(ctx); err != nil {
		return err
	}
	replicas, err := s.replicas(ctx)
	if err != nil {
		return err
	}
	before, err := s.soonDue(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	loads := []*load{s.begin(ctx, "the catalog, in the mesh", catalogURL+"/items"), s.begin(ctx, "echo, outside the mesh, restarted meanwhile", "http://echo.plain:8080/")}
	defer func() { // whatever happened, the load ends and the control plane comes back
		for _, l := range loads {
			l.stop()
		}
		if err := s.Scale(context.WithoutCancel(ctx), wire.SystemNamespace, wire.DiscoveryService, replicas); err != nil {
			s.Saw("bringing the control plane back: %v", err)
		}
	}()
	if err := s.without(ctx, before); err != nil {
		return err
	}
	s.Ran("kubectl -n %s scale deploy/%s --replicas=%d", wire.SystemNamespace, wire.DiscoveryService, replicas)
	if err := s.Scale(ctx, wire.SystemNamespace, wire.DiscoveryService, replicas); err != nil {
		return err
	}
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error { return s.apply(ctx, "canary/0-100.yaml") }); err != nil {
		return fmt.Errorf("what the outage held up: %w", err)
	}
	if err := s.settle(ctx, "v2"); err != nil {
		return fmt.Errorf("what the outage held up: %w", err)
	}
	s.Saw("the route that the outage held up is in force")
	if err := s.renewed(ctx, before); err != nil {
		return err
	}
	if err := s.settle(ctx, "v2", "-fresh"); err != nil {
		return fmt.Errorf("after the renewal: %w", err)
	}
	least := time.Since(start).Seconds() - 10 // a load takes a moment to begin
	for _, l := range loads {
		if err := s.finish(l, least); err != nil {
			return err
		}
	}
	return nil
}

// PlaneGone waits until no pod of the control plane is left, not even one that is about to go.
func (c *Cluster) PlaneGone(ctx context.Context) error {
	return eventually(ctx, time.Minute, func(ctx context.Context) error {
		list, err := c.kube.CoreV1().Pods(wire.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + wire.DiscoveryService})
		if err != nil {
			return fmt.Errorf("listing the control plane's pods: %w", err)
		}
		if n := len(list.Items); n > 0 {
			return fmt.Errorf("%d pods of the control plane are still there", n)
		}
		return nil
	})
}

// unjudged tries to apply a rule while nobody can judge it. It passes only where validation is open still.
func (s *Stage) unjudged(ctx context.Context, path string) {
	if err := s.apply(ctx, path); err != nil {
		s.Saw("it is refused, since nobody can judge it: %v", err)
		return
	}
	s.Saw("it passes unjudged")
}

// without takes the control plane away for the outage, in which somebody tries to change a route, a backend outside the mesh restarts, and the client's
// certificate passes half of its life.
func (s *Stage) without(ctx context.Context, before certificate) error {
	s.Ran("kubectl -n %s scale deploy/%s --replicas=0", wire.SystemNamespace, wire.DiscoveryService)
	if err := s.Scale(ctx, wire.SystemNamespace, wire.DiscoveryService, 0); err != nil {
		return err
	}
	if err := s.PlaneGone(ctx); err != nil {
		return err
	}
	gone := time.Now()
	s.Saw("no pod of the control plane is left")
	if err := s.Roll(ctx, PlainNamespace, "echo-v1"); err != nil {
		return err
	}
	if err := s.Settled(ctx, PlainNamespace, "echo-v1"); err != nil {
		return err
	}
	s.unjudged(ctx, "canary/0-100.yaml")
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(gone.Add(outage))):
	}
	t, err := s.client(ctx, fromClient, "-n", "100", catalogURL+"/items")
	if err != nil {
		return err
	}
	if t.Versions["v1"] == 0 || !t.All("200") {
		return fmt.Errorf("the route of before the outage is not in force any more: %s", t)
	}
	s.Saw("a minute later, by the routes of before: %s", t)
	return s.missed(ctx, before, gone)
}

func (s *Stage) replicas(ctx context.Context) (int32, error) {
	d, err := s.kube.AppsV1().Deployments(wire.SystemNamespace).Get(ctx, wire.DiscoveryService, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("reading the control plane: %w", err)
	}
	if d.Spec.Replicas == nil || *d.Spec.Replicas == 0 {
		return 1, nil
	}
	return *d.Spec.Replicas, nil
}

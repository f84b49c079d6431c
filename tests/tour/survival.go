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

// scale sets the replicas of a Deployment and waits until they are ready or gone.
func (c *Cluster) scale(ctx context.Context, namespace, name string, replicas int32) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if _, err := c.kube.AppsV1().Deployments(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("scaling %s to %d: %w", name, replicas, err)
	}
	return c.settled(ctx, namespace, name)
}

// roll starts a Deployment's pods again.
func (c *Cluster) roll(ctx context.Context, namespace, name string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := c.kube.AppsV1().Deployments(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("restarting %s: %w", name, err)
	}
	return nil
}

// settled waits until a Deployment has rolled out.
func (c *Cluster) settled(ctx context.Context, namespace, name string) error {
	return eventually(ctx, time.Minute, func(ctx context.Context) error {
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
	replicas, err := s.replicas(ctx)
	if err != nil {
		return err
	}
	serial, err := s.certificate(ctx)
	if err != nil {
		return err
	}
	defer func() { // whatever happened, the control plane comes back
		if err := s.scale(context.WithoutCancel(ctx), wire.SystemNamespace, wire.DiscoveryService, replicas); err != nil {
			s.Saw("bringing the control plane back: %v", err)
		}
	}()
	s.Ran("kubectl -n %s scale deploy/%s --replicas=0", wire.SystemNamespace, wire.DiscoveryService)
	if err := s.scale(ctx, wire.SystemNamespace, wire.DiscoveryService, 0); err != nil {
		return err
	}
	if err := s.without(ctx); err != nil {
		return err
	}
	s.Ran("kubectl -n %s scale deploy/%s --replicas=%d", wire.SystemNamespace, wire.DiscoveryService, replicas)
	if err := s.scale(ctx, wire.SystemNamespace, wire.DiscoveryService, replicas); err != nil {
		return err
	}
	if err := s.settle(ctx, "v2"); err != nil {
		return fmt.Errorf("what changed during the outage: %w", err)
	}
	s.Saw("the route that changed during the outage is in force")
	return s.renewed(ctx, serial)
}

// without runs load for the outage, while a route changes and a backend outside the mesh restarts.
func (s *Stage) without(ctx context.Context) error {
	type answer struct {
		what string
		t    *Tally
		err  error
	}
	answers := make(chan answer, 2)
	for what, url := range map[string]string{"the catalog, in the mesh": catalogURL + "/items", "echo, outside the mesh, restarted meanwhile": "http://echo.plain:8080/"} {
		args := []string{"-c", "2", "-pause", "20ms", "-duration", outage.String(), url}
		s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop client -c 2 -pause 20ms -duration %v %s", outage, url)
		go func() {
			t, err := s.client(ctx, fromClient, args...)
			answers <- answer{what, t, err}
		}()
	}
	time.Sleep(outage / 6)
	if err := s.roll(ctx, PlainNamespace, "echo-v1"); err != nil {
		return err
	}
	if err := s.settled(ctx, PlainNamespace, "echo-v1"); err != nil {
		return err
	}
	if err := s.Sample(ctx, "canary/0-100.yaml", ShopNamespace); err != nil {
		return err
	}
	for range 2 {
		a := <-answers
		if a.err != nil {
			return fmt.Errorf("%s: %w", a.what, a.err)
		}
		if !a.t.All("200") {
			return fmt.Errorf("%s: %s", a.what, a.t)
		}
		s.Saw("%s: %s in %.0f s", a.what, a.t, a.t.Seconds)
	}
	return nil
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

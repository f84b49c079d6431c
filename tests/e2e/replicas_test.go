package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/cli"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// replicaAway takes the replica away that serves a pod's proxy. While only the other is there, that proxy's traffic goes on, a new pod starts
// with a sidecar and a certificate, and a route changes for both.
func replicaAway(t *testing.T, c *tour.Cluster, p *corev1.Pod) {
	x := newInstallation(t)
	end := c.Load(t.Context(), p, "client", items)
	left := x.withoutReplica(x.serving(p))
	const name = "lodger-late"
	apply(t, c, fmt.Sprintf(lodger, name, true))
	asks(t, c, "app="+name)
	late, err := c.Pod(t.Context(), tour.ShopNamespace, "app="+name)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Ask(t.Context(), late, "client", "client", items)
	if err != nil || !strings.Contains(answer.Body, "URI=spiffe://cluster.local/ns/shop/sa/client") {
		t.Errorf("the new pod's identity is not seen: %v (%v)", answer, err)
	}
	for _, sample := range []string{"canary/subsets.yaml", "canary/0-100.yaml"} {
		t.Cleanup(func() {
			if err := c.Remove(context.Background(), sample, tour.ShopNamespace); err != nil {
				t.Error(err)
			}
		})
		if err := c.Sample(t.Context(), sample, tour.ShopNamespace); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []*corev1.Pod{p, late} {
		eventually(t, t.Context(), 30*time.Second, func() error {
			answer, err := c.Ask(t.Context(), from, "client", "client", "-n", "20", items)
			if err == nil && answer.Versions["v2"] != answer.Sent {
				err = fmt.Errorf("the route's change has not arrived at %s: %s", from.Name, answer)
			}
			return err
		})
	}
	for _, from := range []*corev1.Pod{p, late} {
		if by := x.serving(from); by != left {
			t.Errorf("the proxy of %s is served by %s, not by the replica that is left, %s", from.Name, by, left)
		}
	}
	if now := x.replicas(); !slices.Equal(now, []string{left}) {
		t.Errorf("all that while only %s was to be there, not %v", left, now)
	}
	if answer, err := end(); err != nil || !answer.All("200") {
		t.Errorf("traffic meanwhile: %v (%v)", answer, err)
	}
}

// statuses are what the control plane says of all connected proxies.
func (x *installation) statuses() ([]proxy.Status, error) {
	code, said := x.meshctl("proxy-status", "-o", "json")
	var all []proxy.Status
	if err := json.Unmarshal([]byte(said), &all); code != cli.ExitOK || err != nil {
		return nil, fmt.Errorf("meshctl proxy-status: exit code %d, %w: %s", code, err, said)
	}
	return all, nil
}

// status is what the control plane says of a pod's proxy, once that is connected.
func (x *installation) status(p *corev1.Pod) (of proxy.Status) {
	x.t.Helper()
	eventually(x.t, x.t.Context(), time.Minute, func() error {
		all, err := x.statuses()
		if err != nil {
			return err
		}
		for _, of = range all {
			if of.Proxy == p.Name+"."+p.Namespace {
				return nil
			}
		}
		return fmt.Errorf("nobody serves the proxy of %s", p.Name)
	})
	return of
}

// serving names the replica that a pod's proxy is connected to.
func (x *installation) serving(p *corev1.Pod) (replica string) {
	x.t.Helper()
	return x.status(p).ControlPlane
}

// synced waits until every connected proxy has all that it was told.
func (x *installation) synced() {
	x.t.Helper()
	eventually(x.t, x.t.Context(), time.Minute, func() error {
		all, err := x.statuses()
		if err != nil {
			return err
		}
		for _, s := range all {
			for typ, of := range s.Types {
				if of.State == proxy.Stale || of.State == proxy.Refused {
					return fmt.Errorf("%s: %s is %s: %s", s.Proxy, typ, of, of.Reason)
				}
			}
		}
		return nil
	})
}

// replicas names the pods of the control plane, those too that are about to go.
func (x *installation) replicas() (names []string) {
	x.t.Helper()
	list, err := x.kube.CoreV1().Pods(wire.SystemNamespace).List(x.t.Context(), metav1.ListOptions{LabelSelector: "app=" + wire.DiscoveryService})
	if err != nil {
		x.t.Fatal(err)
	}
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names)
	return names
}

// withoutReplica takes one of two replicas away for the length of the test, and names the other.
func (x *installation) withoutReplica(name string) (left string) {
	x.t.Helper()
	before := x.replicas()
	if len(before) != 2 || !slices.Contains(before, name) {
		x.t.Fatalf("the control plane's replicas are %v, want two, and %s among them", before, name)
	}
	left = slices.DeleteFunc(before, func(n string) bool { return n == name })[0]
	ctx := context.Background()
	first := []byte(`{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"-1000"}}}`) // this one goes, not the other
	if _, err := x.kube.CoreV1().Pods(wire.SystemNamespace).Patch(ctx, name, types.MergePatchType, first, metav1.PatchOptions{}); err != nil {
		x.t.Fatal(err)
	}
	scale := func(replicas int) error {
		_, err := x.kube.AppsV1().Deployments(wire.SystemNamespace).Patch(ctx, wire.DiscoveryService, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{})
		return err
	}
	x.t.Cleanup(func() {
		if err := scale(2); err != nil {
			x.t.Error(err)
		}
		eventually(x.t, ctx, 2*time.Minute, func() error {
			d, err := x.kube.AppsV1().Deployments(wire.SystemNamespace).Get(ctx, wire.DiscoveryService, metav1.GetOptions{})
			if err == nil && d.Status.ReadyReplicas != 2 {
				err = fmt.Errorf("%d of 2 replicas are ready again", d.Status.ReadyReplicas)
			}
			return err
		})
	})
	if err := scale(1); err != nil {
		x.t.Fatal(err)
	}
	eventually(x.t, ctx, 90*time.Second, func() error {
		if now := x.replicas(); !slices.Equal(now, []string{left}) {
			return fmt.Errorf("replicas %v, want %s alone", now, left)
		}
		return nil
	})
	return left
}

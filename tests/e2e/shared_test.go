package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/heddle-mesh/heddle/tests/tour"
)

// kubeconfig returns the cluster to test on: the one that `make test` starts and names in HEDDLE_KUBECONFIG.
func kubeconfig(t *testing.T) string {
	t.Helper()
	path := os.Getenv("HEDDLE_KUBECONFIG")
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("HEDDLE_KUBECONFIG is not set")
		}
		t.Skip("HEDDLE_KUBECONFIG is not set: run `make test-e2e`, which starts a cluster with Heddle and the shop")
	}
	return path
}

// access returns how to reach that cluster. client-go would wait between requests, to be gentle to a server that others need, too.
func access(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// connect returns the cluster, with gateway certificates that were just renewed, and without what an earlier run left.
func connect(t *testing.T) *tour.Cluster {
	t.Helper()
	c, err := tour.Connect(access(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Own(); err != nil {
		t.Fatal(err)
	}
	if err := c.Secrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	client, err := c.Pod(t.Context(), tour.ShopNamespace, "app=client")
	if err != nil {
		t.Fatal(err)
	}
	c.Image = client.Spec.Containers[0].Image // the one that was loaded into the nodes
	if err := c.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually calls f until it returns nil; it fails the test with f's last error when limit or ctx ends.
func eventually(t *testing.T, ctx context.Context, limit time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

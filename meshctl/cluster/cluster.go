// Package cluster is meshctl's way to a cluster: its clients, and its errors in one sentence. It changes nothing there.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	extensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long the first question to a cluster may take.
const patience = 10 * time.Second

// Requests per second, and how many at once: an installation is many small objects.
const (
	qps   = 50
	burst = 100
)

// ErrNoCluster is what Connect returns, wrapped, where no cluster can be talked to.
var ErrNoCluster = errors.New("no cluster")

// Cluster holds clients of one cluster.
type Cluster struct {
	Config     *rest.Config
	Kube       kubernetes.Interface
	Extensions extensions.Interface
	Dynamic    dynamic.Interface
	Getter     genericclioptions.RESTClientGetter
	Namespace  string // the one that the flags or the context name
	Version    string // of Kubernetes
}

// Connect makes clients from flags and asks the cluster for its version, so that an unreachable one shows at once. Its errors
// are sentences for people, wrapping ErrNoCluster.
func Connect(ctx context.Context, flags *genericclioptions.ConfigFlags) (*Cluster, error) {
	c, err := clients(flags)
	if err != nil {
		return nil, unusable(err)
	}
	type answer struct {
		version string
		err     error
	}
	asked := make(chan answer, 1)
	go func() {
		v, err := c.Kube.Discovery().ServerVersion()
		if err != nil {
			asked <- answer{err: err}
			return
		}
		asked <- answer{version: v.GitVersion}
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case got := <-asked:
		c.Version = got.version
		if got.err != nil {
			return nil, unreachable(c.Config.Host, got.err)
		}
		return c, nil
	case <-ctx.Done():
		return nil, unreachable(c.Config.Host, fmt.Errorf("no answer within %s", patience))
	}
}

// empty reports whether flags name no cluster, in which case the library would try a port of this machine.
func empty(flags *genericclioptions.ConfigFlags) bool {
	raw, err := flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil || len(raw.Clusters) > 0 || flags.APIServer != nil && *flags.APIServer != "" {
		return false
	}
	_, err = rest.InClusterConfig()
	return err != nil
}

func clients(flags *genericclioptions.ConfigFlags) (*Cluster, error) {
	if empty(flags) {
		return nil, clientcmd.ErrEmptyConfig
	}
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = qps, burst
	c := &Cluster{Config: config, Getter: flags}
	if c.Namespace, _, err = flags.ToRawKubeConfigLoader().Namespace(); err != nil {
		return nil, err
	}
	if c.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if c.Extensions, err = extensions.NewForConfig(config); err != nil {
		return nil, err
	}
	c.Dynamic, err = dynamic.NewForConfig(config)
	return c, err
}

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/proc"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/progress"
)

// Client speaks to the API server as the administrator.
func (c Cluster) Client() (kubernetes.Interface, error) {
	return clientFrom(c.Layout.Kubeconfig())
}

// BalancerClient speaks to the API server as the balancer.
func (c Cluster) BalancerClient() (kubernetes.Interface, error) {
	return clientFrom(c.Layout.Identity("balancer"))
}

func clientFrom(path string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	config.QPS, config.Burst = 100, 200
	config.Timeout = 10 * time.Second
	if strings.HasSuffix(path, "balancer.kubeconfig") {
		config.Timeout = 0 // it watches
	}
	return kubernetes.NewForConfig(config)
}

// ready waits until the cluster can be used.
func (c Cluster) ready(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := c.Client()
	if err != nil {
		return err
	}
	for {
		err := c.check(ctx, client)
		if err == nil {
			return nil
		}
		if !c.alive() {
			return c.dead()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// check finds the first reason why the cluster cannot be used yet, with the log that may explain it.
func (c Cluster) check(ctx context.Context, client kubernetes.Interface) error {
	nodes, err := client.CoreV1().Nodes().List(ctx, meta.ListOptions{})
	if err != nil {
		return &progress.LogError{Log: c.Layout.Log(plan.Control, "kube-apiserver"), Err: fmt.Errorf("the API server does not answer: %w", err)}
	}
	states := map[string]string{}
	for _, n := range nodes.Items {
		states[n.Name] = nodeState(n)
	}
	for _, n := range c.Plan.Nodes {
		if s := states[n.Name]; s != "Ready" {
			return &progress.LogError{Log: c.Layout.Log(n.Name, "kubelet"), Err: fmt.Errorf("node %s is not ready: %s", n.Name, orMissing(s))}
		}
	}
	if _, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", meta.GetOptions{}); err != nil {
		return &progress.LogError{Log: c.Layout.Log(plan.Control, "kube-controller-manager"), Err: fmt.Errorf("no pod could be created yet: %w", err)}
	}
	dns, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", meta.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if err != nil || dns.Status.AvailableReplicas == 0 {
		return &progress.LogError{Log: c.Layout.Log(c.Plan.Nodes[0].Name, "kubelet"), Err: errors.New("the cluster's DNS does not run yet" + c.why(ctx, client))}
	}
	return nil
}

func nodeState(n core.Node) string {
	for _, cond := range n.Status.Conditions {
		if cond.Type == core.NodeReady {
			if cond.Status == core.ConditionTrue {
				return "Ready"
			}
			return cond.Reason + ": " + cond.Message
		}
	}
	return "it has not reported yet"
}

func orMissing(state string) string {
	if state == "" {
		return "it has not joined"
	}
	return state
}

// why tells what holds back the pods of the cluster's DNS.
func (c Cluster) why(ctx context.Context, client kubernetes.Interface) string {
	events, err := client.CoreV1().Events("kube-system").List(ctx, meta.ListOptions{FieldSelector: "type=Warning"})
	if err != nil || len(events.Items) == 0 {
		return ""
	}
	e := events.Items[len(events.Items)-1]
	return fmt.Sprintf(" (%s %s: %s)", e.InvolvedObject.Name, e.Reason, e.Message)
}

// dead names the group that ended.
func (c Cluster) dead() error {
	for _, g := range c.Plan.Groups() {
		if id, err := proc.Load(c.Layout.Process(g)); err != nil || !id.Alive() {
			return &progress.LogError{Log: c.Layout.Log(g, "supervisor"), Err: fmt.Errorf("the programs of %s have ended", g)}
		}
	}
	return errors.New("a group of programs has ended")
}

// Status describes the cluster in lines, and fails where it cannot be used.
func (c Cluster) Status(ctx context.Context) error {
	if !c.traces() {
		return errors.New("there is no cluster: start one with `make cluster`")
	}
	for _, g := range c.Plan.Groups() {
		id, err := proc.Load(c.Layout.Process(g))
		if err != nil || !id.Alive() {
			c.Report.Say("%-9s ended", g)
			continue
		}
		c.Report.Say("%-9s runs, process %d, logs in %s", g, id.PID, c.Layout.Logs(g))
	}
	if !c.alive() {
		return c.dead()
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	if err := c.check(ctx, client); err != nil {
		return err
	}
	c.Report.Say("healthy; KUBECONFIG=%s", c.Layout.Kubeconfig())
	return nil
}

// Inside is the command line that runs a command on a node (or in control or outside), in its namespaces.
func (c Cluster) Inside(group string, command ...string) ([]string, error) {
	id, err := proc.Load(c.Layout.Process(group))
	if err != nil {
		return nil, err
	}
	if !id.Alive() {
		return nil, fmt.Errorf("%s does not run", group)
	}
	return append([]string{"nsenter", fmt.Sprintf("--target=%d", id.PID), "--mount", "--net", "--pid", "--uts", "--ipc", "--"}, command...), nil
}

// Package smoke tries out what the cluster promises, with real pods, and removes them again. It promises nothing about the mesh.
package smoke

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/lifecycle"
)

const namespace = "cluster-smoke"

// tester holds what the checks share.
type tester struct {
	cluster lifecycle.Cluster
	client  kubernetes.Interface
}

// Run makes every check; the first that fails ends it, and leaves the pods for a look at them.
func Run(ctx context.Context, c lifecycle.Cluster) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	t := tester{cluster: c, client: client}
	for _, check := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"the cluster is healthy", c.Status},
		{"a pod runs on every node", t.deploy},
		{"exec and logs work", t.execAndLogs},
		{"names resolve: Services, the outside, and nothing else", t.names},
		{"a ClusterIP is reached across nodes, and by a pod that is behind it", t.clusterIP},
		{"the API server's side reaches a ClusterIP, as webhooks need it", t.fromControl},
		{"a LoadBalancer address is reached from the machine", t.balanced},
		{"a LoadBalancer Service that keeps to a node sees the client's own address", t.balancedLocal},
		{"pods of worker cannot reach the outside", t.noWayOut},
		{"pods of edge and roamer can: HTTP, HTTPS and TCP", t.wayOut},
		{"a token for an audience of one's own is reviewed", t.token},
		{"the pods are removed", t.remove},
	} {
		if err := c.Report.Step(check.name, func() error { return check.run(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (t tester) deploy(ctx context.Context) error {
	if err := t.remove(ctx); err != nil {
		return err
	}
	var manifests strings.Builder
	manifests.WriteString(common)
	for _, n := range t.cluster.Plan.Nodes {
		fmt.Fprintf(&manifests, perNode, n.Name, n.Name, n.Name, n.Name, n.Name, n.Name, n.Name)
	}
	if err := t.cluster.Apply(ctx, []byte(manifests.String())); err != nil {
		return err
	}
	_, err := t.kubectl(ctx, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
	return err
}

func (t tester) execAndLogs(ctx context.Context) error {
	out, err := t.toolbox(ctx, "worker", "env")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "HOSTNAME=worker") {
		return fmt.Errorf("the environment of a pod lacks HOSTNAME=worker:\n%s", out)
	}
	_, err = t.kubectl(ctx, "logs", "edge")
	return err
}

func (t tester) names(ctx context.Context) error {
	for name, want := range map[string]string{
		"kubernetes.default":                   t.cluster.Plan.API.String(),
		"kubernetes.default.svc.cluster.local": t.cluster.Plan.API.String(),
		"outside.example":                      t.cluster.Plan.OutsideHosts[0].Address.String(),
	} {
		out, err := t.toolbox(ctx, "edge", "lookup", name)
		if err != nil {
			return err
		}
		if strings.TrimSpace(out) != want {
			return fmt.Errorf("%s resolves to %q, not to %s", name, out, want)
		}
	}
	for _, name := range []string{"absent.example", "absent.default.svc.cluster.local", "absent.test"} {
		if err := t.fails(ctx, "edge", "no such host", "lookup", name); err != nil {
			return err
		}
	}
	return nil
}

func (t tester) clusterIP(ctx context.Context) error {
	for _, from := range []string{"worker", "edge", "roamer"} {
		if err := t.answers(ctx, from, `"machine":"roamer"`, "curl", "-f", "http://only-roamer/"); err != nil {
			return err
		}
	}
	return nil
}

func (t tester) fromControl(ctx context.Context) error {
	service, err := t.client.CoreV1().Services(namespace).Get(ctx, "only-edge", meta.GetOptions{})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	line, err := t.cluster.Inside("control", self, "fetch", "http://"+service.Spec.ClusterIP+"/")
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"machine":"edge"`)) {
		return fmt.Errorf("from beside the API server: %s: %v", bytes.TrimSpace(out), err)
	}
	return nil
}

func (t tester) token(ctx context.Context) error {
	out, err := t.kubectl(ctx, "create", "token", "default", "--audience=heddle-smoke", "--bound-object-kind=Pod", "--bound-object-name=worker")
	if err != nil {
		return err
	}
	return t.review(ctx, strings.TrimSpace(out))
}

// remove deletes the namespace, and waits until it is gone.
func (t tester) remove(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, t.cluster.Layout.Binary("kubectl"), "delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("deleting namespace %s: %s: %w", namespace, bytes.TrimSpace(out), err)
	}
	return nil
}

// toolbox runs the toolbox in the pod of a node.
func (t tester) toolbox(ctx context.Context, node string, args ...string) (string, error) {
	return t.kubectl(ctx, append([]string{"exec", node, "--", "/toolbox"}, args...)...)
}

func (t tester) kubectl(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, t.cluster.Layout.Binary("kubectl"), append([]string{"--namespace=" + namespace}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %s: %w", strings.Join(args, " "), strings.TrimSpace(problems.String()), err)
	}
	return out.String(), nil
}

// answers wants a text in the output of the toolbox.
func (t tester) answers(ctx context.Context, from, want string, args ...string) error {
	out, err := t.toolbox(ctx, from, args...)
	if err != nil {
		return err
	}
	if !strings.Contains(out, want) {
		return fmt.Errorf("from %s, %s: no %s in %q", from, strings.Join(args, " "), want, out)
	}
	return nil
}

// fails wants the toolbox to fail for a reason.
func (t tester) fails(ctx context.Context, from, reason string, args ...string) error {
	out, err := t.toolbox(ctx, from, args...)
	if err == nil {
		return fmt.Errorf("from %s, %s succeeds: %s", from, strings.Join(args, " "), out)
	}
	if !strings.Contains(err.Error(), reason) {
		return fmt.Errorf("want %q: %w", reason, err)
	}
	return nil
}

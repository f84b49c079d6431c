package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/workload"
	"github.com/heddle-mesh/heddle/tests/internal/netlab"
	"github.com/heddle-mesh/heddle/tests/internal/process"
	"github.com/heddle-mesh/heddle/tests/tour"
)

// The machine: a network namespace beside the nodes, which no kubelet knows.
const (
	machineSpace   = "heddle-e2e-machine"
	machineProgram = "heddle-proxy" // in the machine's folder
	machineWire    = "e2e-machine"  // the end of its wire at the nodes
	machineAddress = "10.87.0.77"
	nodesSpace     = "heddle-control"
	nodesGateway   = "10.87.0.1"
	machineURL     = "http://192.0.2.50/who" // an address that only the ServiceEntry has
	machineAccount = "spiffe://cluster.local/ns/shop/sa/machine"
	clientAccount  = "spiffe://cluster.local/ns/shop/sa/client"
)

const machineGroup = `
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: machine, namespace: shop}
spec:
  metadata: {labels: {app: machine}}
  template: {serviceAccount: machine, ports: {http: 8080}}
`

const machineEntry = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: machine, namespace: shop}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: machine, namespace: shop}
spec:
  hosts: [machine.example]
  addresses: [192.0.2.50]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: machine}}
`

// TestMachine has a machine that is no pod join the mesh, serve and call it under its own identity, be given another process of the proxy, and leave it.
func TestMachine(t *testing.T) {
	c, kube := connect(t), clientset(t)
	letMachines(t, kube)
	apply(t, c, machineEntry+"---"+machineGroup)
	host := wired(t, kube)
	var shown atomic.Value // what the last request showed of its client
	serveOn(t, host, &shown)
	dir := join(t, kube)
	proxy := runOn(t, dir)

	entry, err := dynamic.NewForConfig(access(t))
	if err != nil {
		t.Fatal(err)
	}
	entries := entry.Resource(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "workloadentries"}).Namespace(tour.ShopNamespace)
	registered := func() error {
		_, err := entries.Get(t.Context(), "machine-"+machineAddress, metav1.GetOptions{})
		return err
	}
	eventually(t, t.Context(), time.Minute, registered)
	asked := func(code string) func() error {
		return func() error {
			client, err := c.Pod(t.Context(), tour.ShopNamespace, "app=client")
			if err != nil {
				return err
			}
			answer, err := c.Ask(t.Context(), client, "client", "client", "-n", "5", "-host", "machine.example", machineURL)
			if err == nil && !answer.All(code) {
				err = fmt.Errorf("want %s: %s", code, answer)
			}
			return err
		}
	}
	eventually(t, t.Context(), time.Minute, asked("200"))
	if xfcc, _ := shown.Load().(string); !strings.Contains(xfcc, "URI="+clientAccount) {
		t.Errorf("the machine was shown %q, not %s", xfcc, clientAccount)
	}
	eventually(t, t.Context(), time.Minute, func() error { return callFrom(t, c, kube, host) })

	next := runOn(t, dir)
	eventually(t, t.Context(), time.Minute, func() error {
		if ended, err := proxy.Ended(); !ended {
			return errors.New("the machine's first proxy goes on beside the next")
		} else if err != nil {
			t.Fatalf("the machine's first proxy ended with %v", err)
		}
		return nil
	})
	proxy = next
	if err := asked("200")(); err != nil {
		t.Errorf("once another process has taken over: %v", err)
	}
	if err := callFrom(t, c, kube, host); err != nil {
		t.Errorf("once another process has taken over: %v", err)
	}
	if err := registered(); err != nil {
		t.Errorf("once another process has taken over: %v", err)
	}

	if err := syscall.Kill(proxy.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, t.Context(), time.Minute, func() error {
		if ended, err := proxy.Ended(); !ended {
			return errors.New("the machine's proxy was told to end, and goes on")
		} else if err != nil {
			return fmt.Errorf("the machine's proxy ended with %w", err)
		}
		if err := registered(); err == nil {
			return errors.New("the machine is gone, and still registered")
		} else if !apierrors.IsNotFound(err) {
			return err
		}
		return nil
	})
	eventually(t, t.Context(), time.Minute, asked("503"))
}

// letMachines has the mesh let machines register themselves for the length of the test.
func letMachines(t *testing.T, kube kubernetes.Interface) {
	t.Helper()
	set := func(ctx context.Context, value string) error {
		patch := fmt.Sprintf(`{"data":{%q:%s}}`, wire.MachinesKey, value)
		_, err := kube.CoreV1().ConfigMaps(wire.SystemNamespace).Patch(ctx, wire.MeshConfigMap, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	if err := set(t.Context(), `"true"`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(context.Background(), "null"); err != nil {
			t.Error(err)
		}
	})
}

// ip runs iproute2.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// wired makes the machine, with a wire to the nodes, and ways to Services and pods.
func wired(t *testing.T, kube kubernetes.Interface) *netlab.Host {
	t.Helper()
	remove := func() {
		_ = ip("netns", "delete", machineSpace) // there may be none
		_ = os.RemoveAll(filepath.Join("/etc/netns", machineSpace))
	}
	remove()
	t.Cleanup(remove)
	all := [][]string{
		{"netns", "add", machineSpace},
		{"-n", machineSpace, "link", "set", "lo", "up"},
		{"-n", machineSpace, "link", "add", "eth0", "type", "veth", "peer", "name", machineWire, "netns", nodesSpace},
		{"-n", nodesSpace, "link", "set", machineWire, "master", "br0", "up"},
		{"-n", machineSpace, "addr", "add", machineAddress + "/24", "dev", "eth0"},
		{"-n", machineSpace, "link", "set", "eth0", "up"},
		{"-n", machineSpace, "route", "add", "default", "via", nodesGateway},
	}
	nodes, err := kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == "InternalIP" && n.Spec.PodCIDR != "" {
				all = append(all, []string{"-n", machineSpace, "route", "add", n.Spec.PodCIDR, "via", a.Address})
			}
		}
	}
	for _, args := range all {
		if err := ip(args...); err != nil {
			t.Fatal(err)
		}
	}
	return netlab.Named(t, machineSpace)
}

// serveOn answers on the machine, and keeps what requests show of their clients.
func serveOn(t *testing.T, host *netlab.Host, shown *atomic.Value) {
	t.Helper()
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store(r.Header.Get("x-forwarded-client-cert"))
		fmt.Fprintln(w, "the machine")
	})}
	l := host.Listen(":8080")
	go func() { _ = server.Serve(l) }() // ends with the test
	t.Cleanup(func() { _ = server.Close() })
}

// join gives the machine the proxy, the files that meshctl writes, and capture rules, and returns the folder.
func join(t *testing.T, kube kubernetes.Interface) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "heddle-machine") // not the test's own, which the proxy's user may not enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	group, err := workload.Read([]byte(machineGroup), tour.ShopNamespace)
	if err != nil {
		t.Fatal(err)
	}
	plane, err := kube.CoreV1().Services(wire.SystemNamespace).Get(t.Context(), wire.DiscoveryService, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := workload.Files(t.Context(), kube, workload.Request{Group: group, Plane: plane.Spec.ClusterIP, Address: machineAddress, Revision: wire.DiscoveryService,
		Namespace: wire.SystemNamespace, TokenLife: time.Hour, Audience: wire.TokenAudience, TrustDomain: wire.DefaultTrustDomain, ClusterID: wire.DefaultClusterID})
	if err == nil {
		err = workload.Write(dir, files)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join("/etc/netns", machineSpace), 0o755)
	}
	if err == nil { // `ip netns exec` lays it over /etc/hosts
		err = os.WriteFile(filepath.Join("/etc/netns", machineSpace, "hosts"), append([]byte("127.0.0.1 localhost\n"), files[wire.FileHosts]...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, machineProgram)
	place(t, program)
	for name := range files {
		if err := os.Chown(filepath.Join(dir, name), wire.ProxyUID, wire.ProxyUID); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, wire.ProxyUID, wire.ProxyUID); err != nil {
		t.Fatal(err)
	}
	if err := ip("netns", "exec", machineSpace, program, wire.CommandRedirect); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runOn starts the machine's proxy. One that runs already is to give way.
func runOn(t *testing.T, dir string) *process.Running {
	t.Helper()
	var said bytes.Buffer
	id := fmt.Sprint(wire.ProxyUID)
	cmd := exec.Command("ip", "netns", "exec", machineSpace, "setpriv", "--reuid", id, "--regid", id, "--clear-groups", filepath.Join(dir, machineProgram), wire.CommandMachine, "--dir", dir)
	cmd.Env = append(os.Environ(), wire.EnvDrainDuration+"=2s")
	cmd.Stdout, cmd.Stderr = &said, &said
	running, err := process.Start(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		running.Kill()
		if t.Failed() {
			t.Logf("the machine's proxy:\n%s", said.String())
		}
	})
	return running
}

// place puts the proxy at a path: the one that the images were made of or, without one, a new one.
func place(t *testing.T, path string) {
	t.Helper()
	from, err := os.Open("../../bin/heddle-proxy")
	if errors.Is(err, os.ErrNotExist) {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/heddle-proxy")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building the proxy: %v: %s", err, out)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err == nil {
		_, err = io.Copy(to, from)
	}
	if err == nil {
		err = to.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// callFrom calls a Service of the mesh from the machine, whose proxy shows the machine's identity.
func callFrom(t *testing.T, c *tour.Cluster, kube kubernetes.Interface, host *netlab.Host) error {
	catalog, err := kube.CoreV1().Services(tour.ShopNamespace).Get(t.Context(), "catalog", metav1.GetOptions{})
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: host.DialContext, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+catalog.Spec.ClusterIP+":8080/items", nil)
	if err != nil {
		return err
	}
	request.Host = "catalog.shop:8080"
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the machine was answered %s", answer.Status)
	}
	n, err := c.Metric(t.Context(), tour.ShopNamespace, "app=catalog", "istio_requests_total",
		map[string]string{"reporter": "destination", "source_principal": machineAccount, "connection_security_policy": "mutual_tls"})
	if err == nil && n == 0 {
		err = fmt.Errorf("the catalog was asked, and not by %s", machineAccount)
	}
	return err
}

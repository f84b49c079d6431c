// Package workload prepares machines outside of the cluster: it writes WorkloadGroups, and the files by which the proxy of a machine finds the mesh and
// proves itself. It asks the cluster for a token and for the mesh's root, and changes nothing there.
package workload

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// Template is a WorkloadGroup to be written.
type Template struct {
	Name, Namespace, Account   string
	Labels, Annotations, Ports map[string]string
}

// Group writes a WorkloadGroup as YAML, with Istio's probe of nothing: who wants one adds it.
func Group(t Template) ([]byte, error) {
	ports := map[string]int{}
	for name, text := range t.Ports {
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number == 0 {
			return nil, fmt.Errorf("port %s: %q is no port", name, text)
		}
		ports[name] = int(number)
	}
	template := map[string]any{"serviceAccount": t.Account}
	if len(ports) > 0 {
		template["ports"] = ports
	}
	spec := map[string]any{"template": template}
	about := map[string]any{}
	for key, m := range map[string]map[string]string{"labels": t.Labels, "annotations": t.Annotations} {
		if len(m) > 0 {
			about[key] = m
		}
	}
	if len(about) > 0 {
		spec["metadata"] = about
	}
	text, err := yaml.Marshal(map[string]any{"apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroup",
		"metadata": map[string]string{"name": t.Name, "namespace": t.Namespace}, "spec": spec})
	if err != nil {
		return nil, fmt.Errorf("writing the WorkloadGroup: %w", err)
	}
	_, err = Read(text, t.Namespace)
	return text, err
}

// Read reads the one WorkloadGroup of a file, which must be one that machines could register themselves by.
func Read(text []byte, namespace string) (*inputs.WorkloadGroup, error) {
	in, err := source.FromYAMLIn(text, namespace)
	if err != nil {
		return nil, err
	}
	if len(in.WorkloadGroups) != 1 {
		return nil, fmt.Errorf("the file has %d WorkloadGroups, not one", len(in.WorkloadGroups))
	}
	in.Mesh.Machines = true
	group := in.WorkloadGroups[0]
	snapshot, report := translate.Translate(in, nil)
	if snapshot.WorkloadGroups[model.Name{Namespace: group.Namespace, Name: group.Name}] != nil {
		return group, nil
	}
	for _, e := range report.Entries {
		if e.Ref.Kind == "WorkloadGroup" && len(e.Issues) > 0 {
			return nil, fmt.Errorf("%s", e)
		}
	}
	return nil, fmt.Errorf("no machine can register itself by WorkloadGroup %s/%s", group.Namespace, group.Name)
}

// Request is what to prepare.
type Request struct {
	Group       *inputs.WorkloadGroup
	Plane       string // address by which machines reach the control plane; "": that of its Service's load balancer
	Address     string // the machine's own; "": it finds out itself
	Revision    string // name of the control plane's Service
	Namespace   string // of the control plane
	TokenLife   time.Duration
	Audience    string
	TrustDomain string
	ClusterID   string
	CaptureDNS  bool
}

// Files asks the cluster for what a machine needs to know, and returns it by file.
func Files(ctx context.Context, kube kubernetes.Interface, r Request) (map[string][]byte, error) {
	plane, err := reach(ctx, kube, r)
	if err != nil {
		return nil, err
	}
	root, err := kube.CoreV1().ConfigMaps(r.Group.Namespace).Get(ctx, wire.RootConfigMap, meta.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the mesh's root: %w", err)
	}
	life := int64(r.TokenLife / time.Second)
	account := r.Group.Spec.GetTemplate().GetServiceAccount()
	token, err := kube.CoreV1().ServiceAccounts(r.Group.Namespace).CreateToken(ctx, account,
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{Audiences: []string{r.Audience}, ExpirationSeconds: &life}}, meta.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("asking for a token of service account %s/%s: %w", r.Group.Namespace, account, err)
	}
	mesh, err := meshFile(r.Group)
	if err != nil {
		return nil, err
	}
	host := r.Revision + "." + r.Namespace + ".svc"
	return map[string][]byte{
		wire.FileEnvironment: environment(r, host),
		wire.FileMachine:     mesh,
		wire.FileRoots:       []byte(root.Data[wire.RootConfigMapKey]),
		wire.FileToken:       []byte(token.Status.Token),
		wire.FileHosts:       []byte(plane + " " + host + "\n"),
	}, nil
}

// reach is the address by which machines reach the control plane.
func reach(ctx context.Context, kube kubernetes.Interface, r Request) (string, error) {
	text := r.Plane
	if text == "" {
		service, err := kube.CoreV1().Services(r.Namespace).Get(ctx, r.Revision, meta.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("looking for the control plane: %w", err)
		}
		for _, at := range service.Status.LoadBalancer.Ingress {
			text = at.IP
		}
	}
	if _, err := netip.ParseAddr(text); err != nil {
		return "", fmt.Errorf("no address is known by which machines reach port %d of the control plane: name it with --ingressIP", wire.PortDiscovery)
	}
	return text, nil
}

// environment is what the proxy is told, line by line.
func environment(r Request, host string) []byte {
	all := map[string]string{
		wire.EnvWorkloadGroup: r.Group.Name, wire.EnvPodNamespace: r.Group.Namespace, wire.EnvServiceAccount: r.Group.Spec.GetTemplate().GetServiceAccount(),
		wire.EnvDiscoveryAddress: host + ":" + strconv.Itoa(wire.PortDiscovery), wire.EnvTrustDomain: r.TrustDomain, wire.EnvClusterID: r.ClusterID,
		wire.EnvInstanceIPs: r.Address,
	}
	if r.CaptureDNS {
		all[wire.EnvDNSCapture] = "true"
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "" {
			fmt.Fprintf(&b, "%s='%s'\n", name, all[name])
		}
	}
	return []byte(b.String())
}

// meshFile is Istio's MeshConfig, as far as it is the machine's: its probe.
func meshFile(group *inputs.WorkloadGroup) ([]byte, error) {
	probe := group.Spec.GetProbe()
	if probe == nil {
		return []byte("defaultConfig: {}\n"), nil
	}
	data, err := probe.MarshalJSON()
	if err == nil {
		data, err = yaml.JSONToYAML([]byte(`{"defaultConfig":{"readinessProbe":` + string(data) + `}}`))
	}
	if err != nil {
		return nil, fmt.Errorf("writing the probe: %w", err)
	}
	return data, nil
}

// Write writes files into a folder, which is made if it is missing. The token is the owner's alone.
func Write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	for name, data := range files {
		mode := os.FileMode(0o644)
		if name == wire.FileToken {
			mode = 0o600
		}
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) { // so that an older one's mode does not stay
			return fmt.Errorf("replacing a file: %w", err)
		}
		if err := os.WriteFile(path, data, mode); err != nil {
			return fmt.Errorf("writing a file: %w", err)
		}
	}
	return nil
}

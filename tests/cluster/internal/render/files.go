// Package render writes what the programs of the cluster read: configuration, manifests and command lines. It is pure: a plan and a
// layout in, text out.
package render

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"text/template"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/pki"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
)

// Kubeconfig lets its holder speak to the API server as the subject of the pair.
func Kubeconfig(p plan.Plan, ca []byte, user string, pair pki.Pair) []byte {
	return fill(kubeconfig, map[string]any{
		"Server": p.APIURL(), "User": user,
		"CA": encode(ca), "Certificate": encode(pair.Certificate), "Key": encode(pair.Key),
	})
}

// Containerd is a node's container runtime. The restriction of oom scores lets it run where the machine withholds CAP_SYS_RESOURCE.
func Containerd(l plan.Layout, n plan.Node) []byte {
	return fill(containerd, map[string]any{"Pause": plan.PauseImage, "CNI": l.Node(n.Name, "cni")})
}

// CNI is a node's pod network. With ptp every packet is routed, also between two pods of one node, so that answers through a ClusterIP
// always find their way back; a bridge would short-cut them.
func CNI(n plan.Node) []byte {
	return fill(cni, map[string]any{"Pods": n.Pods})
}

// Kubelet is a node's kubelet.
func Kubelet(p plan.Plan, l plan.Layout, n plan.Node) []byte {
	return fill(kubelet, map[string]any{
		"CA": l.PKI("ca.pem"), "Certificate": l.PKI("kubelet-" + n.Name + ".pem"), "Key": l.PKI("kubelet-" + n.Name + "-key.pem"),
		"DNS": p.DNS, "Domain": plan.ClusterDomain, "Cgroup": CgroupRoot(n.Name), "Resolv": l.Data("control", "resolv.conf"),
		"Address": n.Address, "Egress": n.Egress, "Role": plan.EgressRole,
	})
}

// CgroupRoot is the cgroup above a node's pods; it must exist before the kubelet does.
func CgroupRoot(node string) string { return "/heddle/" + node }

// Proxy is a kube-proxy on a node, or beside the API server with the name of a node.
func Proxy(p plan.Plan, l plan.Layout) []byte {
	return fill(proxy, map[string]any{"Kubeconfig": l.Identity("kube-proxy"), "Pods": p.Pods})
}

// Resolv is the resolver configuration of pods that do without the cluster's DNS.
func Resolv(p plan.Plan) []byte {
	return fmt.Appendf(nil, "nameserver %s\n", p.DNS)
}

func encode(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// fill executes one of this package's templates; one that does not execute is a mistake in this package.
func fill(text string, values any) []byte {
	var out bytes.Buffer
	if err := template.Must(template.New("").Option("missingkey=error").Parse(text)).Execute(&out, values); err != nil {
		panic("render: a template does not fit its values: " + err.Error())
	}
	return out.Bytes()
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: heddle
  cluster:
    server: {{.Server}}
    certificate-authority-data: {{.CA}}
users:
- name: {{.User}}
  user:
    client-certificate-data: {{.Certificate}}
    client-key-data: {{.Key}}
contexts:
- name: heddle
  context:
    cluster: heddle
    user: {{.User}}
current-context: heddle
`

const containerd = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{{.CNI}}"
`

const cni = `{
  "cniVersion": "0.4.0",
  "name": "heddle",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "{{.Pods}}"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/heddle-cni"
      }
    }
  ]
}
`

const kubelet = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {{.Address}}
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{.CA}}}
authorization: {mode: Webhook}
tlsCertFile: {{.Certificate}}
tlsPrivateKeyFile: {{.Key}}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
imageServiceEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: {{.Cgroup}}
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
clusterDNS: [{{.DNS}}]
clusterDomain: {{.Domain}}
resolvConf: {{.Resolv}}
containerLogMaxSize: 5Mi
containerLogMaxFiles: 2
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: 50Mi
  nodefs.available: 1%
  nodefs.inodesFree: 1%
  imagefs.available: 1%
serializeImagePulls: false
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s # so that changed ConfigMaps arrive in pods within seconds
volumePluginDir: /var/lib/kubelet/plugins-exec
{{- if .Egress}}
registerWithTaints:
- key: {{.Role}}
  effect: NoSchedule
{{- end}}
`

const proxy = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection:
  kubeconfig: {{.Kubeconfig}}
clusterCIDR: {{.Pods}}
detectLocalMode: ClusterCIDR
conntrack:
  maxPerCore: 0
  min: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
nftables:
  minSyncPeriod: 100ms
  syncPeriod: 30s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
`

package render

import (
	"fmt"
	"sort"
	"strings"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/supervise"
)

// Groups are the cluster's groups of processes by name.
func Groups(p plan.Plan, l plan.Layout) map[string]supervise.Spec {
	groups := map[string]supervise.Spec{
		plan.Control:  control(p, l),
		plan.Outside:  self(l, plan.Outside, "serve-outside"),
		plan.Balancer: self(l, plan.Balancer, "serve-balancer"),
	}
	for _, n := range p.Nodes {
		groups[n.Name] = node(p, l, n)
	}
	return groups
}

// self is a group whose only program is a subcommand of the cluster's own binary.
func self(l plan.Layout, name, command string) supervise.Spec {
	return supervise.Spec{Name: name, Logs: l.Logs(name), Programs: []supervise.Program{
		{Name: name, Args: []string{l.Self(), command, "--state=" + l.Root}},
	}}
}

func control(p plan.Plan, l plan.Layout) supervise.Spec {
	return supervise.Spec{
		Name:    plan.Control,
		Sysctls: routing(),
		Logs:    l.Logs(plan.Control),
		Programs: []supervise.Program{
			program(l, "etcd", map[string]string{
				"name": "heddle", "data-dir": l.Data(plan.Control, "etcd"), "unsafe-no-fsync": "true", "log-level": "warn",
				"listen-client-urls": "http://127.0.0.1:2379", "advertise-client-urls": "http://127.0.0.1:2379",
				"listen-peer-urls": "http://127.0.0.1:2380", "initial-advertise-peer-urls": "http://127.0.0.1:2380",
				"initial-cluster": "heddle=http://127.0.0.1:2380",
			}),
			apiserver(p, l),
			program(l, "kube-controller-manager", map[string]string{
				"kubeconfig": l.Identity("kube-controller-manager"), "leader-elect": "false", "use-service-account-credentials": "true",
				"service-account-private-key-file": l.PKI("accounts-key.pem"), "root-ca-file": l.PKI("ca.pem"),
				"cluster-signing-cert-file": l.PKI("ca.pem"), "cluster-signing-key-file": l.PKI("ca-key.pem"),
				"authentication-kubeconfig": l.Identity("kube-controller-manager"), "authorization-kubeconfig": l.Identity("kube-controller-manager"),
				"node-monitor-period": "2s", "node-monitor-grace-period": "30s",
				"concurrent-deployment-syncs": "5", "kube-api-qps": "200", "kube-api-burst": "400",
			}),
			program(l, "kube-scheduler", map[string]string{
				"kubeconfig": l.Identity("kube-scheduler"), "leader-elect": "false",
				"authentication-kubeconfig": l.Identity("kube-scheduler"), "authorization-kubeconfig": l.Identity("kube-scheduler"),
			}),
			// Webhooks are called through ClusterIPs, so the API server needs a kube-proxy beside it. It goes by the name of a node that
			// exists: with another name it waits for one.
			program(l, "kube-proxy", map[string]string{"config": l.PKI("proxy.yaml"), "hostname-override": p.Nodes[0].Name}),
		},
	}
}

func apiserver(p plan.Plan, l plan.Layout) supervise.Program {
	return program(l, "kube-apiserver", map[string]string{
		"etcd-servers":                       "http://127.0.0.1:2379",
		"advertise-address":                  p.Control.String(),
		"bind-address":                       p.Control.String(),
		"secure-port":                        fmt.Sprint(plan.APIPort),
		"service-cluster-ip-range":           p.Services.String(),
		"tls-cert-file":                      l.PKI("apiserver.pem"),
		"tls-private-key-file":               l.PKI("apiserver-key.pem"),
		"client-ca-file":                     l.PKI("ca.pem"),
		"service-account-issuer":             "https://kubernetes.default.svc." + plan.ClusterDomain,
		"service-account-key-file":           l.PKI("accounts.pem"),
		"service-account-signing-key-file":   l.PKI("accounts-key.pem"),
		"authorization-mode":                 "Node,RBAC",
		"enable-admission-plugins":           "NodeRestriction",
		"allow-privileged":                   "true",
		"kubelet-client-certificate":         l.PKI("apiserver-kubelet.pem"),
		"kubelet-client-key":                 l.PKI("apiserver-kubelet-key.pem"),
		"kubelet-certificate-authority":      l.PKI("ca.pem"),
		"kubelet-preferred-address-types":    "InternalIP",
		"requestheader-client-ca-file":       l.PKI("ca.pem"),
		"requestheader-allowed-names":        "front-proxy",
		"requestheader-username-headers":     "X-Remote-User",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"proxy-client-cert-file":             l.PKI("front-proxy.pem"),
		"proxy-client-key-file":              l.PKI("front-proxy-key.pem"),
	})
}

func node(p plan.Plan, l plan.Layout, n plan.Node) supervise.Spec {
	own := func(at, from string) supervise.Folder { return supervise.Folder{At: at, From: l.Node(n.Name, from)} }
	labels := []string{"topology.kubernetes.io/region=heddle", "topology.kubernetes.io/zone=" + n.Zone}
	if n.Egress {
		labels = append(labels, plan.EgressRole+"=true")
	}
	return supervise.Spec{
		Name:    n.Name,
		Sysctls: routing(),
		Devices: true,
		Logs:    l.Logs(n.Name),
		Folders: []supervise.Folder{
			{At: "/run"},
			own("/var/lib/containerd", "containerd"), own("/var/lib/kubelet", "kubelet"), own("/var/log", "log"), own("/var/lib/cni", "cni-cache"),
		},
		Programs: []supervise.Program{
			{Name: "containerd", Args: []string{"/usr/bin/containerd", "--config", l.Node(n.Name, "containerd.toml"), "--log-level", "warn"}},
			program(l, "kubelet", map[string]string{
				"config": l.Node(n.Name, "kubelet.yaml"), "kubeconfig": l.Identity("kubelet-" + n.Name),
				"hostname-override": n.Name, "node-ip": n.Address.String(), "node-labels": strings.Join(labels, ","),
			}),
			program(l, "kube-proxy", map[string]string{"config": l.PKI("proxy.yaml"), "hostname-override": n.Name}),
		},
	}
}

// routing lets a namespace forward packets, and accept them on any of its interfaces.
func routing() map[string]string {
	return map[string]string{
		"net/ipv4/ip_forward":             "1",
		"net/ipv4/conf/all/rp_filter":     "0",
		"net/ipv4/conf/default/rp_filter": "0",
		// A pod learns at once, and every time, that there is no way to where it wants to go.
		"net/ipv4/icmp_ratelimit": "0",
		// What passes the bridge between the nodes must not be translated by the kube-proxy beside the API server.
		"net/bridge/bridge-nf-call-iptables":  "0",
		"net/bridge/bridge-nf-call-ip6tables": "0",
	}
}

// program is one of the Kubernetes programs, its flags in a stable order.
func program(l plan.Layout, name string, flags map[string]string) supervise.Program {
	args := []string{l.Kubernetes(), name}
	for key, value := range flags {
		args = append(args, "--"+key+"="+value)
	}
	sort.Strings(args[2:])
	return supervise.Program{Name: name, Args: args}
}

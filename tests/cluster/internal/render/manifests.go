package render

import (
	"fmt"
	"strings"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
)

// DNS is CoreDNS in the cluster: it answers for Services and pods, for the hosts of the outside world, and for nothing else.
func DNS(p plan.Plan) []byte {
	var hosts strings.Builder
	for _, h := range p.OutsideHosts {
		fmt.Fprintf(&hosts, "    %s. 60 IN A %s\n", h.Name, h.Address)
	}
	return fill(dns, map[string]any{
		"Hosts": hosts.String(), "Domain": plan.ClusterDomain, "Image": plan.DNSImage, "Address": p.DNS, "Node": p.Nodes[0].Name,
	})
}

const dns = `apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- apiGroups: [""]
  resources: [endpoints, services, pods, namespaces]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects:
- {kind: ServiceAccount, name: coredns, namespace: kube-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    {{.Domain}}:53 in-addr.arpa:53 ip6.arpa:53 {
        errors
        health :8080
        ready :8181
        kubernetes {{.Domain}} in-addr.arpa ip6.arpa {
          pods insecure
          ttl 5
        }
    }
    example:53 {
        errors
        file /etc/coredns/outside.zone
    }
    .:53 {
        errors
        template ANY ANY {
          rcode NXDOMAIN
        }
    }
  outside.zone: |
    example. 60 IN SOA ns.example. nobody.example. 1 3600 600 86400 5
    example. 60 IN NS ns.example.
{{.Hosts}}---
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}
spec:
  selector: {k8s-app: kube-dns}
  clusterIP: {{.Address}}
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: coredns
  namespace: kube-system
  labels: {k8s-app: kube-dns}
spec:
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      serviceAccountName: coredns
      priorityClassName: system-cluster-critical
      dnsPolicy: Default
      nodeSelector: {kubernetes.io/hostname: {{.Node}}}
      containers:
      - name: coredns
        image: {{.Image}}
        imagePullPolicy: IfNotPresent
        args: [-conf, /etc/coredns/Corefile]
        ports:
        - {name: dns, containerPort: 53, protocol: UDP}
        - {name: dns-tcp, containerPort: 53, protocol: TCP}
        readinessProbe:
          httpGet: {path: /ready, port: 8181}
          periodSeconds: 1
        livenessProbe:
          httpGet: {path: /health, port: 8080}
          initialDelaySeconds: 30
          timeoutSeconds: 5
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}
        volumeMounts:
        - {name: config, mountPath: /etc/coredns, readOnly: true}
      volumes:
      - name: config
        configMap: {name: coredns}
`

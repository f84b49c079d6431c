package main

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/bench/plane"
)

// The pods whose proxies are measured, and their addresses.
const (
	edgePod, clientPod, serverPod = "edge", "client", "server"
	edgeIP, clientIP, serverIP    = "127.0.0.1", "127.0.0.2", "127.0.0.3"
)

// gatewayMesh is a gateway before Hosts hosts.
type gatewayMesh struct {
	Hosts, Routes int // routes of each host
	// What each route does, and what is asked of each request.
	Policy, CORS, Fault, Headers, Logs bool
	Limit, GRPCWeb, Session            bool
	Clusters                           int // further services that nobody asks, of five endpoints each
	Variant                            int // of what is swapped under load
	// Filled in when it is started.
	HTTPPort, TCPPort string
	HTTP, GRPC, TCP   string // ports of the backends
}

// full is a mesh hop's own work.
func full() gatewayMesh {
	return gatewayMesh{Hosts: 100, Routes: 10, Policy: true, Headers: true}
}

// bare is a hop that is told nothing but where to go.
func bare() gatewayMesh { return gatewayMesh{Hosts: 1, Routes: 1} }

func host(h int) string { return fmt.Sprintf("svc-%d.bench.example", h) }

const rpcHost = "rpc.bench.example"

const gatewayText = `{{define "entry"}}---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: {{.Name}}, namespace: bench, labels: {istio.io/persistent-session: "{{.Cookie}}"}}
spec:
  hosts: [{{.Host}}]
  resolution: STATIC
  location: MESH_EXTERNAL
  ports: [{number: {{.Number}}, name: main, protocol: {{.Protocol}}}]
  endpoints: [{{range .Addresses}}{address: {{.}}, ports: {main: {{$.Port}}}}, {{end}}]
{{end}}---
apiVersion: v1
kind: ConfigMap
metadata: {name: heddle, namespace: heddle-system}
data: {mesh: "{{if .Logs}}accessLogFile: /dev/stdout{{end}}", persistentSessions: "{{.Session}}"}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: bench}
spec:
  selector: {app: edge}
  servers:
  - {port: {number: {{.HTTPPort}}, name: http, protocol: {{if .GRPCWeb}}GRPC-WEB{{else}}HTTP{{end}}}, hosts: ['*']}
  - {port: {number: {{.TCPPort}}, name: tcp, protocol: TCP}, hosts: ['*']}
{{range $h, $_ := times .Hosts}}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: svc-{{$h}}, namespace: bench}
spec:
  hosts: [{{host $h}}]
  gateways: [edge]
  http:
{{range $r, $_ := times $.Routes}}  - name: r{{$r}}
    match: [{uri: {prefix: /r{{$r}}/}, headers: {x-user: {exact: jane}}}]
{{if $.Variant}}    timeout: {{$.Variant}}s
{{end}}{{if $.CORS}}    corsPolicy: {allowOrigins: [{exact: "https://shop.example"}], allowMethods: [GET]}
{{end}}{{if $.Fault}}    fault: {delay: {fixedDelay: 1ms, percentage: {value: 0.0001}}}
{{end}}{{if $.Headers}}    headers: {request: {set: {x-mesh: bench-{{$.Variant}}}}, response: {remove: [x-powered-by]}}
{{end}}    route: [{destination: {host: {{host $h}}}, weight: 90}, {destination: {host: {{host (next $h)}}}, weight: 10}]
{{end}}{{end}}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: rpc, namespace: bench}
spec: {hosts: [rpc.bench.example], gateways: [edge], http: [{route: [{destination: {host: rpc.bench.example}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tcp, namespace: bench}
spec: {hosts: ['*'], gateways: [edge], tcp: [{match: [{port: {{.TCPPort}}}], route: [{destination: {host: tcp.bench.example, port: {number: 9000}}}]}]}
{{if .Variant}}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: svc-0, namespace: bench}
spec: {host: {{host 0}}, trafficPolicy: {connectionPool: {tcp: {maxConnections: {{.Variant}}000}}}}
{{end}}{{if .Policy}}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: bench}
spec: {selector: {matchLabels: {app: edge}}, action: DENY, rules: [{to: [{operation: {ports: ["1{{.Variant}}"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: bench}
spec: {selector: {matchLabels: {app: edge}}, action: ALLOW, rules: [{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}]}
{{end}}`

// pod is a Pod that is a gateway, or with a sidecar.
func pod(name, ip string, sidecar bool) string {
	labels, annotations := "", ""
	if sidecar {
		labels, annotations = wire.TLSModeLabel+": istio", wire.StatusAnnotation+": injected"
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, uid: %[1]s, labels: {app: %[1]s, %[4]s}, annotations: {%[5]s}}
spec: {serviceAccountName: %[1]s, nodeName: worker, containers: [{name: app, image: app}]}
status: {phase: Running, podIP: %[3]s, podIPs: [{ip: %[3]s}], conditions: [{type: Ready, status: "True"}]}
`, name, plane.Namespace, ip, labels, annotations)
}

// entry is a ServiceEntry.
type entry struct {
	Name, Host, Protocol, Port string
	Number                     int
	Addresses                  []string
	Cookie                     string // of sessions; "": there are none
}

// text is the mesh in YAML.
func (m gatewayMesh) text() (string, error) {
	t, err := template.New("mesh").Funcs(template.FuncMap{"host": host, "times": func(n int) []struct{} { return make([]struct{}, n) },
		"next": func(h int) int { return (h + 1) % m.Hosts }}).Parse(gatewayText)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(pod(edgePod, edgeIP, false))
	for _, e := range m.entries() {
		if err := t.ExecuteTemplate(&out, "entry", e); err != nil {
			return "", err
		}
	}
	err = t.Execute(&out, m)
	return out.String(), err
}

// cookie is what clients of the hosts stay with an endpoint by.
func (m gatewayMesh) cookie() string {
	if m.Session {
		return "lane"
	}
	return ""
}

func (m gatewayMesh) entries() []entry {
	one := []string{"127.0.0.1"}
	out := []entry{{"rpc", rpcHost, "GRPC", m.GRPC, 80, one, ""}, {"tcp", "tcp.bench.example", "TCP", m.TCP, 9000, one, ""}}
	for h := range m.Hosts {
		out = append(out, entry{fmt.Sprint("svc-", h), host(h), "HTTP", m.HTTP, 80, one, m.cookie()})
	}
	for c := range m.Clusters {
		name, five := fmt.Sprint("more-", c), []string{}
		for e := range 5 {
			five = append(five, fmt.Sprintf("127.1.%d.%d", c%250, c/250*5+e+1))
		}
		out = append(out, entry{name, name + ".bench.example", "HTTP", m.HTTP, 80, five, ""})
	}
	return out
}

const serverHost = "server.bench.svc.cluster.local"

// pairText is a client's and a server's sidecar. The server's is told where its application is, since nothing captures connections for it.
const pairText = `---
apiVersion: v1
kind: Service
metadata: {name: server, namespace: bench}
spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], selector: {app: server}, ports: [{name: http, port: 80, targetPort: %[2]s}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: server-1, namespace: bench, labels: {kubernetes.io/service-name: server}}
addressType: IPv4
endpoints: [{addresses: [%[1]s], conditions: {ready: true}, nodeName: worker, targetRef: {kind: Pod, name: server, namespace: bench}}]
ports: [{name: http, port: %[2]s, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: server, namespace: bench}
spec:
  workloadSelector: {labels: {app: server}}
  ingress: [{port: {number: %[2]s, name: http, protocol: HTTP}, defaultEndpoint: "127.0.0.1:%[3]s"}]
  egress: [{hosts: ["./*"]}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: bench}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: bench}
spec: {selector: {matchLabels: {app: server}}, action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/bench/sa/client]}}]}]}
`

// pairMesh is the mesh of a pair, whose server's sidecar listens at a port of serverIP.
func pairMesh(port, backend string) string {
	return pod(clientPod, clientIP, true) + pod(serverPod, serverIP, true) + fmt.Sprintf(pairText, serverIP, port, backend)
}

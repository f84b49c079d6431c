package simulation

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// mesh is a cluster at one moment, with every proxy's configuration.
type mesh struct {
	t         *testing.T
	text      string // the objects
	pki       *pki
	services  map[string]*service // by name.namespace
	pods      map[string]*pod     // by name
	byIP      map[string]*pod
	snapshot  *model.Snapshot
	endpoints *model.EndpointIndex
	workloads *model.WorkloadIndex
	index     *generate.Index
	memo      *generate.Memo
	onDemand  bool // sidecars ask for what they use
}

// pod is one line of the pods section.
type pod struct {
	name, namespace, ip, account string
	shows                        string // the account in its certificate
	domain                       string // the trust domain in its certificate
	labels                       map[string]string
	ports                        map[string]string // named container ports
	bare                         bool              // no proxy
	gateway                      bool
	unready                      bool
	names                        bool   // its DNS is captured
	excluded                     uint16 // port on which connections to it are not captured
	v6                           string
	node                         string
	proxy                        *proxy
}

// certified is the identity in the pod's certificate: its account's, unless it stands in for another pod.
func (p *pod) certified() string {
	return "spiffe://" + p.domain + "/ns/" + p.namespace + "/sa/" + p.shows
}

// refused reports whether a client took the pod for an impostor: it is none of the endpoint's account, or of another than the cluster says where names count too.
func (p *pod) refused(err string) bool {
	_, why, ok := strings.Cut(err, "refusing server "+p.certified()+": ")
	return ok && (strings.HasPrefix(why, "the endpoint's identity is ") || p.shows != p.account)
}

// service is one line of the services section.
type service struct {
	name, namespace, ip string
	ports               []servicePort
	selector            map[string]string
	headless            bool
	published           bool   // its pods count before they are ready
	prefers             string // trafficDistribution
	alias               string
	annotations         map[string]string
}

type servicePort struct{ number, target, protocol, app string }

// parseWords splits "name key=value flag" lines.
func parseWords(line string) (name string, options map[string]string, rest []string) {
	options = map[string]string{}
	for i, word := range strings.Fields(line) {
		key, value, assigned := strings.Cut(word, "=")
		switch {
		case i == 0:
			name = word
		case assigned:
			options[key] = value
		default:
			rest = append(rest, word)
		}
	}
	return name, options, rest
}

func take(options map[string]string, key, otherwise string) string {
	if v, ok := options[key]; ok {
		delete(options, key)
		return v
	}
	return otherwise
}

func lines(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func parsePods(text string) []*pod {
	var out []*pod
	for i, line := range lines(text) {
		name, options, flags := parseWords(line)
		p := &pod{name: name, ip: fmt.Sprintf("10.1.0.%d", i+1), ports: map[string]string{}}
		p.namespace, p.account = take(options, "ns", "default"), take(options, "sa", name)
		p.shows, p.domain = take(options, "shows", p.account), take(options, "domain", "cluster.local")
		for _, named := range strings.Split(take(options, "ports", ""), ",") {
			if key, number, ok := strings.Cut(named, ":"); ok {
				p.ports[key] = number
			}
		}
		p.node = take(options, "node", "worker")
		if port, err := strconv.ParseUint(take(options, "excludes", "0"), 10, 16); err == nil {
			p.excluded = uint16(port)
		}
		p.labels = options
		if options["app"] == "" {
			options["app"], _, _ = strings.Cut(name, "-")
		}
		for _, f := range flags {
			p.bare, p.gateway, p.unready = p.bare || f == "bare", p.gateway || f == "gateway", p.unready || f == "unready"
			p.names = p.names || f == "names"
			if f == "dual" {
				p.v6 = fmt.Sprintf("fd00::%d", i+1)
			}
		}
		out = append(out, p)
	}
	return out
}

func parseServices(text string) []*service {
	var out []*service
	for i, line := range lines(text) {
		name, options, words := parseWords(line)
		s := &service{name: name, ip: fmt.Sprintf("10.96.0.%d", i+1)}
		s.namespace, s.alias, s.annotations = take(options, "ns", "default"), take(options, "alias", ""), map[string]string{}
		if near := take(options, "distribution", ""); near != "" {
			s.annotations["networking.istio.io/traffic-distribution"] = near
		}
		if export := take(options, "export", ""); export != "" {
			s.annotations["networking.istio.io/exportTo"] = export
		}
		s.prefers = take(options, "prefers", "")
		for _, w := range words {
			if w == "headless" || w == "published" {
				s.headless, s.published = s.headless || w == "headless", s.published || w == "published"
				continue
			}
			numbers, protocol, _ := strings.Cut(w, "/")
			protocol, app, _ := strings.Cut(protocol, "!")
			number, target, apart := strings.Cut(numbers, ":")
			if !apart {
				target = number
			}
			s.ports = append(s.ports, servicePort{number, target, protocol, app})
		}
		s.selector = options
		if len(options) == 0 {
			s.selector = map[string]string{"app": name}
		}
		out = append(out, s)
	}
	return out
}

func flow(m map[string]string) string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, fmt.Sprintf("%q: %q", k, v))
	}
	sort.Strings(pairs)
	return "{" + strings.Join(pairs, ", ") + "}"
}

// yaml is the pod as the cluster has it.
func (p *pod) yaml() string {
	labels, annotations := map[string]string{}, map[string]string{}
	for k, v := range p.labels {
		labels[k] = v
	}
	if !p.bare && !p.gateway {
		labels["security.istio.io/tlsMode"] = "istio"
		annotations["sidecar.heddle.io/status"] = "injected"
	}
	ready, ips, ports, proxy := "True", fmt.Sprintf("[{ip: %s}]", p.ip), "", ""
	if p.gateway {
		proxy = ", {name: heddle-proxy, image: proxy, args: [gateway]}"
	}
	if p.unready {
		ready = "False"
	}
	if p.v6 != "" {
		ips = fmt.Sprintf("[{ip: %s}, {ip: %q}]", p.ip, p.v6)
	}
	for name, number := range p.ports {
		ports += fmt.Sprintf("{name: %s, containerPort: %s},", name, number)
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, uid: %s, labels: %s, annotations: %s}
spec: {serviceAccountName: %s, nodeName: %s, containers: [{name: app, image: app, ports: [%s]}%s]}
status: {phase: Running, podIP: %s, podIPs: %s, conditions: [{type: Ready, status: %q}]}
`, p.name, p.namespace, p.name, flow(labels), flow(annotations), p.account, p.node, ports, proxy, p.ip, ips, ready)
}

func (p servicePort) name() string {
	if p.protocol == "" {
		return "x" + p.number
	}
	return p.protocol + "-" + p.number
}

// yaml is the service and its endpoint slice.
func (s *service) yaml(pods []*pod) string {
	ports, slicePorts := "", map[string]string{}
	for _, p := range s.ports {
		app := ""
		if p.app != "" {
			app = ", appProtocol: " + p.app
		}
		ports += fmt.Sprintf("{name: %s, port: %s, targetPort: %s%s},", p.name(), p.number, p.target, app)
	}
	out := fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s, annotations: %s}\nspec: ", s.name, s.namespace, flow(s.annotations))
	switch {
	case s.alias != "":
		return out + fmt.Sprintf("{type: ExternalName, externalName: %s, ports: [%s]}\n", s.alias, ports)
	case s.headless:
		s.ip = "None"
	}
	if s.prefers != "" {
		out += "{trafficDistribution: " + s.prefers + ", "
	} else {
		out += "{"
	}
	out += fmt.Sprintf("clusterIP: %s, clusterIPs: [%s], publishNotReadyAddresses: %t, selector: %s, ports: [%s]}\n", s.ip, s.ip, s.published, flow(s.selector), ports)
	for _, p := range pods {
		if p.namespace != s.namespace || !model.Selector(s.selector).Matches(p.labels) {
			continue
		}
		clear(slicePorts)
		resolved := ""
		for _, port := range s.ports {
			target := port.target
			if number, named := p.ports[target]; named {
				target = number
			}
			resolved += fmt.Sprintf("{name: %s, port: %s, protocol: TCP},", port.name(), target)
		}
		out += fmt.Sprintf(`---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s-%s, namespace: %s, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
endpoints: [{addresses: [%s], conditions: {ready: %t}, nodeName: %s, targetRef: {kind: Pod, name: %s, namespace: %s}}]
ports: [%s]
`, s.name, p.name, s.namespace, s.name, p.ip, !p.unready, p.node, p.name, p.namespace, resolved)
	}
	return out
}

// newMesh translates a mesh and configures every proxy in it.
func newMesh(t *testing.T, files map[string]string) *mesh { return meshOf(t, files, false) }

// meshOf is newMesh with sidecars that are told everything, or ask for what they use.
func meshOf(t *testing.T, files map[string]string, onDemand bool) *mesh {
	m := &mesh{t: t, onDemand: onDemand, pki: newPKI(t), services: map[string]*service{}, pods: map[string]*pod{}, byIP: map[string]*pod{}, memo: generate.NewMemo()}
	pods := parsePods(files["pods"])
	text := ""
	for _, p := range pods {
		m.pods[p.name], m.byIP[p.ip] = p, p
		if p.v6 != "" {
			m.byIP[p.v6] = p
		}
		text += p.yaml()
	}
	for _, s := range parseServices(files["services"]) {
		text += s.yaml(pods)
		m.services[s.name+"."+s.namespace] = s
	}
	text += "---\n" + m.pki.files(files["config.yaml"])
	m.text = text
	in, err := source.FromYAML([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	snapshot, report := translate.Translate(in, nil)
	for _, e := range report.Entries {
		if len(e.Issues) > 0 && !strings.Contains(files["allow"], e.Ref.Name) {
			t.Errorf("%s %s/%s: %v", e.Ref.Kind, e.Ref.Namespace, e.Ref.Name, e.Issues)
		}
	}
	m.snapshot = snapshot
	m.endpoints, m.workloads = translate.Endpoints(in, nil)
	m.index = generate.NewIndex(m.snapshot, m.endpoints, nil)
	for _, p := range pods {
		if !p.bare {
			p.proxy = newProxy(m, p)
		}
	}
	return m
}

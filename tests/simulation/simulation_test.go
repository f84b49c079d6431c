package simulation

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// leastScenarios is how many scenarios there are to be.
const leastScenarios = 80

// TestSimulation runs every mesh of testdata. A mesh's scenarios are lines such as
//
//	GET http://reviews/x?y cookie:user=ann from productpage => reviews-v2 mtls retries=2
//	GET https://shop.example.com/ from outside at ingress => storefront certificate=shop
//	TCP db:3306 from catalog => db tcp
//	TLS api.example.com:443 from catalog => external=192.0.2.1:443
//
// Every word on the right must hold; pods named there (with a share: pod=90%) are all that may be reached.
func TestSimulation(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no meshes in testdata (%v)", err)
	}
	count := 0
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Comment) == 0 {
				t.Fatalf("%s: no comment says why this mesh exists", path)
			}
			files := map[string]string{}
			for _, f := range archive.Files {
				files[f.Name] = string(f.Data)
			}
			m := newMesh(t, files)
			for _, line := range lines(files["scenarios"]) {
				count++
				m.scenario(line)
			}
		})
	}
	if !t.Failed() && count < leastScenarios {
		t.Errorf("%d scenarios, want at least %d", count, leastScenarios)
	}
}

// scenario runs one line.
func (m *mesh) scenario(line string) {
	left, right, ok := strings.Cut(line, "=>")
	if !ok {
		m.t.Errorf("%s: no =>", line)
		return
	}
	j := newJourney()
	if err := m.play(strings.Fields(left), j); err != nil {
		m.t.Errorf("%s: %v", line, err)
		return
	}
	if missing := m.missing(j, strings.Fields(right)); missing != "" {
		m.t.Errorf("%s\n\tmissing: %s\n\tgot: %s", line, missing, j)
	}
}

// missing names the first wanted word that does not hold.
func (m *mesh) missing(j *journey, want []string) string {
	pods := map[string]bool{}
	for _, w := range want {
		negated := strings.TrimPrefix(w, "!")
		name, share, shared := strings.Cut(w, "=")
		switch {
		case negated != w:
			if j.words[negated] {
				return w
			}
		case m.pods[name] != nil:
			pods[name] = true
			percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
			if j.pods[name] == 0 || shared && (err != nil || !about(j.pods[name], percent)) {
				return w
			}
		case !j.words[w]:
			return w
		}
	}
	for name := range j.pods {
		if !pods[name] && len(pods) > 0 {
			return fmt.Sprintf("nothing else than the pods named, not %s", name)
		}
	}
	return ""
}

// play parses the left side and sends it.
func (m *mesh) play(words []string, j *journey) error {
	if len(words) < 2 {
		return fmt.Errorf("want a method and a URL")
	}
	tr := traffic{method: words[0], protocol: exchange.HTTP1, http: true}
	scheme, rest, hasScheme := strings.Cut(words[1], "://")
	if !hasScheme {
		scheme, rest = "tcp", words[1]
	}
	authority, path, _ := strings.Cut(rest, "/")
	tr.authority, tr.path = authority, "/"+path
	var from, at *pod
	source := netip.MustParseAddrPort("203.0.113.9:40000")
	for i := 2; i < len(words); i++ {
		key, value, isHeader := strings.Cut(words[i], ":")
		switch {
		case words[i] == "from" && i+1 < len(words):
			i++
			if from = m.pods[words[i]]; from == nil && words[i] != "outside" {
				return fmt.Errorf("no pod %q", words[i])
			}
			if from != nil {
				source = netip.AddrPortFrom(netip.MustParseAddr(from.ip), 40000)
			}
		case words[i] == "at" && i+1 < len(words):
			i++
			if at = m.pods[words[i]]; at == nil {
				return fmt.Errorf("no gateway %q", words[i])
			}
		case words[i] == "http2":
			tr.protocol = exchange.HTTP2
		case strings.HasPrefix(words[i], "sni="):
			tr.sni = words[i][4:]
		case isHeader:
			tr.headers = append(tr.headers, [2]string{strings.ToLower(key), value})
		default:
			return fmt.Errorf("unknown word %q", words[i])
		}
	}
	host, portText, hasPort := strings.Cut(authority, ":")
	if !hasPort {
		portText = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return fmt.Errorf("port of %q: %w", authority, err)
	}
	tr.tls = scheme == "https" || tr.method == "TLS"
	tr.http = tr.method != "TCP" && tr.method != "TLS"
	if from != nil && from.proxy != nil && scheme == "https" {
		tr.http = false // inside the client's own TLS
	}
	if tr.tls && tr.sni == "" {
		tr.sni = host
	}
	if tr.sni == "-" {
		tr.sni = ""
	}
	to := netip.AddrPortFrom(m.lookup(from, host), uint16(port))
	if at != nil {
		to = netip.AddrPortFrom(netip.MustParseAddr(at.ip), m.behind(at, uint16(port)))
	}
	m.send(from, source, to, tr, j)
	return nil
}

// behind is the port on which a gateway's pod serves a port of its Service.
func (m *mesh) behind(p *pod, port uint16) uint16 {
	for key, set := range m.endpoints.Sets {
		for _, e := range set.Endpoints {
			if key.Port == port && e.Address == p.ip {
				return e.Port
			}
		}
	}
	return port
}

// lookup is DNS: services by the names that a client may use, pods by name for headless services, and one address for all the world.
func (m *mesh) lookup(from *pod, host string) netip.Addr {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip
	}
	namespace := "default"
	if from != nil {
		namespace = from.namespace
	}
	short := strings.TrimSuffix(strings.TrimSuffix(host, ".cluster.local"), ".svc")
	for _, name := range []string{short, short + "." + namespace} {
		if s := m.services[name]; s != nil && s.alias != "" {
			return m.lookup(from, s.alias)
		} else if s != nil && !s.headless {
			return netip.MustParseAddr(s.ip)
		}
	}
	if p := m.pods[strings.Split(host, ".")[0]]; p != nil {
		return netip.MustParseAddr(p.ip)
	}
	for _, s := range m.snapshot.Services {
		if s.Host == host && len(s.Addresses) > 0 {
			if ip, err := netip.ParseAddr(s.Addresses[0]); err == nil {
				return ip
			}
		}
	}
	return netip.MustParseAddr("192.0.2.1")
}

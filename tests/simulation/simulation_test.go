package simulation

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// leastScenarios is how many scenarios there are to be. The project promises 400.
const leastScenarios = 1000

// TestSimulation runs every mesh of testdata. A mesh's scenarios are lines such as
//
//	GET http://reviews/x?y cookie:user=ann from productpage => reviews-v2 mtls retries=2
//	GET https://shop.example.com/ from outside at ingress => storefront certificate=shop
//	TCP db:3306 from catalog => db tcp
//	TLS api.example.com:443 from catalog => external=192.0.2.1:443
//	DNS reviews.shop from catalog => is=10.96.0.1 ttl=30s
//
// Every word on the right must hold; pods named there (with a share: pod=90%) are all that may be reached.
func TestSimulation(t *testing.T) {
	var count atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() && count.Load() < leastScenarios {
			t.Errorf("%d scenarios, want at least %d", count.Load(), leastScenarios)
		}
	})
	eachMesh(t, func(t *testing.T, files map[string]string) { count.Add(int64(newMesh(t, files).playAll(t, files))) })
}

// eachMesh calls f with the files of each mesh, some at once.
func eachMesh(t *testing.T, f func(t *testing.T, files map[string]string)) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no meshes in testdata (%v)", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
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
			f(t, files)
		})
	}
}

// playAll runs every scenario, says which do not hold, and returns how many there are.
func (m *mesh) playAll(t *testing.T, files map[string]string) int {
	all := lines(files["scenarios"])
	for _, line := range all {
		if problem := m.scenario(line); problem != "" {
			t.Errorf("%s\n\t%s", line, problem)
		}
	}
	return len(all)
}

// scenario runs one line and tells what does not hold; "": nothing.
func (m *mesh) scenario(line string) string {
	left, right, ok := strings.Cut(line, "=>")
	if !ok || strings.TrimSpace(right) == "" {
		return "it expects nothing"
	}
	j := newJourney()
	if err := m.play(strings.Fields(left), j); err != nil {
		return err.Error()
	}
	if missing := m.missing(j, strings.Fields(right)); missing != "" {
		return fmt.Sprintf("missing: %s\n\tgot: %s", missing, j)
	}
	return ""
}

// missing names the first wanted word that does not hold.
func (m *mesh) missing(j *journey, want []string) string {
	pods := map[string]bool{}
	for _, w := range want {
		negated := strings.TrimPrefix(w, "!")
		name, share, shared := strings.Cut(w, "=")
		switch {
		case negated != w:
			if j.words[negated] || j.pods[negated] > 0 {
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

// sender is who sends what to whom.
type sender struct {
	from, at *pod
	source   netip.AddrPort
	traffic
}

// words reads what follows the URL.
func (s *sender) words(m *mesh, words []string) error {
	for i := 0; i < len(words); i++ {
		key, value, isHeader := strings.Cut(words[i], ":")
		switch {
		case words[i] == "from" && i+1 < len(words):
			i++
			if s.from = m.pods[words[i]]; s.from == nil && words[i] != "outside" {
				return fmt.Errorf("no pod %q", words[i])
			}
			if s.from != nil {
				s.source = netip.AddrPortFrom(netip.MustParseAddr(s.from.ip), 40000)
			}
		case words[i] == "at" && i+1 < len(words):
			i++
			if s.at = m.pods[words[i]]; s.at == nil {
				return fmt.Errorf("no gateway %q", words[i])
			}
		case words[i] == "http2":
			s.protocol = exchange.HTTP2
		case strings.HasPrefix(words[i], "host="):
			s.authority = words[i][5:]
		case strings.HasPrefix(words[i], "sni="):
			s.sni = words[i][4:]
		case isHeader:
			s.headers = append(s.headers, [2]string{strings.ToLower(key), value})
		default:
			return fmt.Errorf("unknown word %q", words[i])
		}
	}
	return nil
}

// play parses the left side and sends it.
func (m *mesh) play(words []string, j *journey) error {
	if len(words) < 2 {
		return fmt.Errorf("want a method and a URL")
	}
	if words[0] == "DNS" {
		return m.ask(words[1], words[2:], j)
	}
	scheme, rest, hasScheme := strings.Cut(words[1], "://")
	if !hasScheme {
		scheme, rest = "tcp", words[1]
	}
	authority, path, _ := strings.Cut(rest, "/")
	s := sender{source: netip.MustParseAddrPort("203.0.113.9:40000")}
	s.traffic = traffic{method: words[0], protocol: exchange.HTTP1, authority: authority, path: "/" + path}
	if err := s.words(m, words[2:]); err != nil {
		return err
	}
	host, portText, hasPort := strings.Cut(authority, ":")
	if !hasPort {
		portText = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return fmt.Errorf("port of %q: %w", authority, err)
	}
	s.tls = scheme == "https" || s.method == "TLS"
	inside := s.from != nil && s.from.proxy != nil && scheme == "https" // the client's own TLS
	s.http = s.method != "TCP" && s.method != "TLS" && !inside
	switch {
	case s.sni == "-":
		s.sni = ""
	case s.tls && s.sni == "":
		s.sni = host
	}
	to := netip.AddrPortFrom(m.lookup(s.from, host), uint16(port))
	if s.at != nil {
		to = netip.AddrPortFrom(netip.MustParseAddr(s.at.ip), m.behind(s.at, uint16(port)))
	}
	m.send(s.from, s.source, to, s.traffic, j)
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

// ask is a question to the proxy that answers a pod's.
func (m *mesh) ask(host string, words []string, j *journey) error {
	s := sender{}
	if err := s.words(m, words); err != nil {
		return err
	}
	if s.from == nil || !s.from.names {
		return fmt.Errorf("nobody answers DNS questions but the proxies of pods with the flag names")
	}
	r := s.from.proxy.config.Names.Find(strings.ToLower(host))
	if r == nil {
		j.say("forwarded")
		return nil
	}
	for _, a := range slices.Concat(r.V4, r.V6) {
		j.say("is=%s", a)
	}
	j.say("answers=%d", len(r.V4)+len(r.V6))
	j.say("ttl=%s", r.TTL)
	return nil
}

// lookup is DNS: services by the names that a client may use, pods by name for headless services, and one address for all the world.
func (m *mesh) lookup(from *pod, host string) netip.Addr {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip
	}
	if from != nil && from.names {
		if r := from.proxy.config.Names.Find(host); r != nil && len(r.V4) > 0 {
			return r.V4[0]
		}
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

// TestWrongExpectationsFail holds the language itself: a scenario that does not hold is told of.
func TestWrongExpectationsFail(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/first.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	m := newMesh(t, files)
	for _, line := range []string{
		"GET http://reviews/ from web => reviews-v1",
		"GET http://reviews/ from web => reviews-v1=90% reviews-v2=10%",
		"GET http://reviews/ from web => reviews-v1 reviews-v2 plain",
		"GET http://reviews/ from web => reviews-v1 reviews-v2 !mtls",
		"GET http://reviews/ from web => !reviews-v1",
		"GET http://reviews/ from web => reviews-v1 reviews-v2 legacy",
		"GET http://reviews/ from web => 503",
		"GET http://legacy/ from web => legacy mtls",
		"GET http://reviews/ from nobody => 200",
		"GET http://reviews/ from web",
		"GET http://reviews/ from web =>",
	} {
		if m.scenario(line) == "" {
			t.Errorf("%s: this must not hold", line)
		}
	}
}

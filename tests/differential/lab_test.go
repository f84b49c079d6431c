package differential

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/internal/ports"
)

// listener is one HttpConnectionManager to send requests to.
type listener struct {
	Name  string
	Port  string
	TLS   string   // the Secret of its certificate; empty: it has no TLS
	Extra []string // lines of its YAML
}

type cluster struct {
	Name    string
	Options string
	Limits  string   // of its circuit breakers; empty: none that is reached
	More    []string // lines of its YAML
	Ports   []string
}

// breakers are limits, of which each is 0 in a cluster of that name.
var breakers = []string{"max_connections", "max_pending_requests", "max_requests", "max_retries"}

// listeners are the ways in which requests are received.
func listeners() []listener {
	const (
		trusting = "use_remote_address: false"
		wary     = "use_remote_address: true"
		old      = "http_protocol_options: {accept_http_10: true}"
		normal   = "normalize_path: true"
	)
	slashes := func(action string) string { return "path_with_escaped_slashes_action: " + action }
	out := []listener{
		{Name: "edge", Extra: []string{wary, old, normal}},
		{Name: "mesh", Extra: []string{trusting, old, normal, "server_header_transformation: PASS_THROUGH", "forward_client_cert_details: APPEND_FORWARD", "server_name: mesh"}},
		{Name: "modern", Extra: []string{wary, normal}},
		{Name: "hops", Extra: []string{wary, normal, "xff_num_trusted_hops: 1", "preserve_external_request_id: true", "forward_client_cert_details: FORWARD_ONLY"}},
		{Name: "internal", Extra: []string{wary, normal, "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}", "generate_request_id: false"}},
		{Name: "raw", Extra: []string{wary}},
		{Name: "merge", Extra: []string{wary, normal, "merge_slashes: true"}},
		{Name: "merge-only", Extra: []string{wary, "merge_slashes: true"}},
		{Name: "decode", Extra: []string{wary, normal, "merge_slashes: true", slashes("UNESCAPE_AND_FORWARD")}},
		{Name: "reject", Extra: []string{wary, normal, slashes("REJECT_REQUEST")}},
		{Name: "redirect", Extra: []string{wary, normal, slashes("UNESCAPE_AND_REDIRECT")}},
		{Name: "few", Extra: []string{wary, normal, "common_http_protocol_options: {max_headers_count: 20}"}},
	}
	for _, mode := range []string{"SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"} {
		out = append(out, listener{Name: mode, TLS: "server", Extra: []string{wary, normal, "forward_client_cert_details: " + mode,
			"set_current_client_cert_details: {subject: true, uri: true, dns: true, cert: true}"}})
	}
	return append(out, listener{Name: "WITHOUT_URI", TLS: "server-without-uri", Extra: []string{wary, "forward_client_cert_details: SANITIZE_SET"}})
}

// lab is both proxies before one application.
type lab struct {
	t      *testing.T
	app    *application
	plane  *plane
	ports  map[string]map[string]string // by proxy, by listener
	secure map[string]bool              // listeners with TLS
	client *tls.Config
	n      int
}

// proxies by the letter that begins their requests' ids.
var proxies = []string{"envoy", "heddle"}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, app: newApplication(t), ports: map[string]map[string]string{}, secure: map[string]bool{}}
	l.plane = newPlane(t)
	text, err := os.ReadFile("testdata/mesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	app, shadow, h2, dead := l.app.listen("app", l.app.http1), l.app.listen("shadow", l.app.http1), l.app.listen("h2", l.app.http2), ports.Free(t)
	// what becomes of a connection to the upstream in one case must be of no concern to the next
	const once = "common_http_protocol_options: {max_requests_per_connection: 1}, explicit_http_config: {http_protocol_options: {}}"
	clusters := []cluster{{Name: "app", Ports: []string{app}, Options: once}, {Name: "odd", Ports: []string{app}, Options: once}, {Name: "probe", Ports: []string{app}},
		{Name: "shadow", Ports: []string{shadow}}, {Name: "dead", Ports: []string{dead}}, {Name: "nobody"}, {Name: "half", Ports: []string{dead, app}},
		{Name: "lone", Ports: []string{app}, Options: once, More: []string{"common_lb_config: {healthy_panic_threshold: {value: 0}}",
			"outlier_detection: {consecutive_5xx: 1, base_ejection_time: 600s, max_ejection_percent: 99}"}},
		{Name: "picky", Ports: []string{app}, Options: once + `, outlier_detection: {error_matcher: {http_response_headers_match: {headers: [{name: ":status", string_match: {exact: "418"}}]}}}`,
			More: []string{"common_lb_config: {healthy_panic_threshold: {value: 0}}", "outlier_detection: {consecutive_5xx: 1, base_ejection_time: 600s, max_ejection_percent: 100}"}},
		{Name: "detectors", Ports: []string{app}, Options: once, More: []string{"common_lb_config: {healthy_panic_threshold: {value: 0}}",
			"outlier_detection: {consecutive_5xx: 5, consecutive_gateway_failure: 3, enforcing_consecutive_gateway_failure: 100, base_ejection_time: 600s, max_ejection_percent: 100}"}},
		{Name: "brief", Ports: []string{app}, Options: "common_http_protocol_options: {max_requests_per_connection: 1, max_stream_duration: 2s}, explicit_http_config: {http_protocol_options: {}}"},
		{Name: "one-request", Ports: []string{app}, Options: once, Limits: "max_requests: 1"},
		{Name: "one-stream", Ports: []string{h2}, Options: "explicit_http_config: {http2_protocol_options: {}}", Limits: "max_requests: 1"},
		{Name: "one-pending", Ports: []string{app}, Options: once, Limits: "max_connections: 1, max_pending_requests: 1"},
		{Name: "one-retry", Ports: []string{app}, Options: once, Limits: "max_retries: 1"},
		{Name: "no-budget", Ports: []string{app}, Options: once, Limits: "retry_budget: {budget_percent: {value: 0}, min_retry_concurrency: 0}"},
		{Name: "h2", Ports: []string{h2}, Options: "explicit_http_config: {http2_protocol_options: {}}"}}
	for _, limit := range breakers {
		clusters = append(clusters, cluster{Name: limit, Ports: []string{app}, Options: once, Limits: limit + ": 0"})
	}
	pki := l.pki()
	for _, proxy := range proxies {
		l.ports[proxy] = map[string]string{}
		all := listeners()
		for i := range all {
			all[i].Port = ports.Free(t)
			l.ports[proxy][all[i].Name], l.secure[all[i].Name] = all[i].Port, all[i].TLS != ""
		}
		l.plane.push(proxy, string(text), map[string]any{"Listeners": all, "Clusters": clusters, "Breakers": breakers, "Roots": pki.roots,
			"Chain": pki.named[0], "Key": pki.named[1], "Plain": pki.plain[0], "PlainKey": pki.plain[1]})
	}
	l.plane.envoy()
	l.plane.heddle()
	l.await()
	return l
}

// dial connects to a listener of a proxy.
func (l *lab) dial(proxy, to string, protocols ...string) (net.Conn, error) {
	address := net.JoinHostPort("127.0.0.1", l.ports[proxy][to])
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil || !l.secure[to] {
		return nc, err
	}
	config := l.client.Clone()
	config.NextProtos = protocols
	secured := tls.Client(nc, config)
	_ = secured.SetDeadline(time.Now().Add(patience))
	return secured, secured.Handshake()
}

// await returns once every listener of both serves.
func (l *lab) await() {
	l.t.Helper()
	var err error
	for until := time.Now().Add(2 * patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if err = l.serves(); err == nil {
			return
		}
		if refused := l.plane.refusals(); len(refused) > 0 {
			l.t.Fatalf("refused: %v", refused)
		}
	}
	l.t.Fatal(err)
}

func (l *lab) serves() error {
	for _, proxy := range proxies {
		for to := range l.ports[proxy] {
			nc, err := l.dial(proxy, to)
			if err != nil {
				return fmt.Errorf("%s %s: %w", proxy, to, err)
			}
			answers, fate := call(nc, "GET /probe HTTP/1.1\r\nHost: probe.test\r\n\r\n", 1)
			_ = nc.Close()
			if fate != "kept" || len(answers) != 1 || answers[0].body != "probe" {
				return fmt.Errorf("%s %s: %s %v", proxy, to, fate, answers)
			}
		}
	}
	return nil
}

// pki is quoted for YAML: chains and keys of a server, with and without a URI in its certificate, and the roots.
type pki struct {
	named, plain [2]string
	roots        string
}

// pki makes certificates for the server and the client.
func (l *lab) pki() pki {
	l.t.Helper()
	rootKey, root := l.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "root"}}, nil, nil)
	use := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	id := func(name string) []*url.URL {
		return []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/shop/sa/" + name}}
	}
	clientKey, client := l.sign(&x509.Certificate{DNSNames: []string{"client.test", "other.test"}, URIs: id("client"), ExtKeyUsage: use, KeyUsage: x509.KeyUsageDigitalSignature,
		Subject: pkix.Name{CommonName: `cl"ient, x`, Organization: []string{"Shop"}}}, root, rootKey)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	l.client = &tls.Config{RootCAs: pool, ServerName: "app.test", Certificates: []tls.Certificate{{Certificate: [][]byte{client.Raw}, PrivateKey: clientKey}}}
	quoted := func(kind string, der []byte) string {
		return strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	server := func(uris []*url.URL) [2]string {
		key, cert := l.sign(&x509.Certificate{DNSNames: []string{"app.test"}, URIs: uris, ExtKeyUsage: use, KeyUsage: x509.KeyUsageDigitalSignature}, root, rootKey)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			l.t.Fatal(err)
		}
		return [2]string{quoted("CERTIFICATE", cert.Raw), quoted("PRIVATE KEY", der)}
	}
	return pki{named: server(id("server")), plain: server(nil), roots: quoted("CERTIFICATE", root.Raw)}
}

func (l *lab) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	l.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	l.n++
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(int64(l.n)), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		l.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		l.t.Fatal(err)
	}
	return key, cert
}

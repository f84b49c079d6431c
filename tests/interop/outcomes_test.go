package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// The guests: clients and servers behind each kind of proxy, and gateways of each.
func guests() map[string]guest {
	out := map[string]guest{}
	add := func(name, namespace, account, ip, proxy string, gateway bool, labels ...string) {
		g := guest{name: name, namespace: namespace, account: account, ip: ip, proxy: proxy, gateway: gateway, labels: map[string]string{"app": name}}
		for i := 0; i+1 < len(labels); i += 2 {
			g.labels[labels[i]] = labels[i+1]
		}
		out[name] = g
	}
	add("client-a", "shop", "client", "10.1.0.1", "envoy", false)
	add("client-b", "shop", "client", "10.1.0.2", "heddle", false)
	add("stranger-a", "shop", "stranger", "10.1.0.3", "envoy", false)
	add("stranger-b", "shop", "stranger", "10.1.0.4", "heddle", false)
	add("plain", "shop", "plain", "10.1.0.5", "", false)
	add("a", "shop", "a", "10.1.0.11", "envoy", false, "service", "both")
	add("b", "shop", "b", "10.1.0.12", "heddle", false, "service", "both")
	add("ingress-a", "edge", "gateway", "10.1.0.21", "envoy", true, "role", "ingress")
	add("ingress-b", "edge", "gateway", "10.1.0.22", "heddle", true, "role", "ingress")
	add("egress-a", "edge", "gateway", "10.1.0.31", "envoy", true, "role", "egress")
	add("egress-b", "edge", "gateway", "10.1.0.32", "heddle", true, "role", "egress")
	return out
}

// addresses are what names mean to clients of the lab, which have no DNS.
func addresses() map[string]string {
	return map[string]string{"a": "10.96.0.1", "b": "10.96.0.2", "both": "10.96.0.3", "empty": "10.96.0.4", "outside.example.com": "10.250.0.1",
		"peers-a:8080": "10.1.0.11:8080", "peers-b:8080": "10.1.0.12:8080"}
}

const outsideIP = "10.200.0.1"

func outcomesLab(t *testing.T) *lab {
	t.Helper()
	all, at := guests(), addresses()
	shared, rest, _ := strings.Cut(string(load(t, "testdata/outcomes.yaml")), "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule")
	text := strings.ReplaceAll(shared, "HOST", "a") + "---\n" + strings.ReplaceAll(shared, "HOST", "b") + "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule" + rest
	ports := []string{"http:80:8080", "tcp:9000:9000"}
	text += serviceYAML("a", "shop", at["a"], ports, all["a"]) + serviceYAML("b", "shop", at["b"], ports, all["b"]) +
		serviceYAML("both", "shop", at["both"], ports[:1], all["a"], all["b"]) + serviceYAML("empty", "shop", at["empty"], ports[:1]) +
		serviceYAML("peers-a", "shop", "None", []string{"http:8080:8080"}, all["a"]) + serviceYAML("peers-b", "shop", "None", []string{"http:8080:8080"}, all["b"]) +
		serviceYAML("egress-a", "edge", "10.96.1.1", []string{"http:8080:8080"}, all["egress-a"]) + serviceYAML("egress-b", "edge", "10.96.1.2", []string{"http:8080:8080"}, all["egress-b"])
	f := newFiles(t)
	f.pair.CA = f.root
	var list []guest
	for _, g := range all {
		list = append(list, g)
	}
	l := newLab(t, text, map[string]model.Secret{"edge/shop": f.pair}, list)
	for _, name := range []string{"a", "b"} {
		serveHTTP(t, l.hosts[name].Listen(":8080"), name)
		serveTCP(l.hosts[name].Listen(":9000"), name)
	}
	outside := guest{name: "outside", ip: outsideIP}
	l.hosts["outside"] = l.net.Host(outside.address())
	serveHTTP(t, l.hosts["outside"].Listen(":8080"), "outside")
	return l
}

// serveHTTP is an application that says in header fields what it was asked.
func serveHTTP(t *testing.T, l net.Listener, name string) {
	var mu sync.Mutex
	failures := map[string]int{}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		failures[r.URL.RawQuery]++
		n := failures[r.URL.RawQuery]
		mu.Unlock()
		h := w.Header()
		h.Set("x-pod", name)
		h.Set("x-path", r.URL.Path)
		h.Set("x-host", r.Host)
		h.Set("x-tries", fmt.Sprint(n))
		for field, values := range r.Header {
			h.Set("x-got-"+field, strings.Join(values, ","))
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/slow"):
			select {
			case <-r.Context().Done():
			case <-time.After(2 * time.Second):
			}
		case strings.HasPrefix(r.URL.Path, "/flaky") && n <= 2, strings.HasPrefix(r.URL.Path, "/once"):
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, "from ", name)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}

// serveTCP says its name to each line.
func serveTCP(l net.Listener, name string) {
	serveEach(l, func(conn net.Conn) {
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			fmt.Fprintf(conn, "%s got %s\n", name, lines.Text())
		}
	})
}

// serveEach has each connection served, and closes it then.
func serveEach(l net.Listener, serve func(net.Conn)) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
}

// question is one request.
type question struct {
	method, url string
	headers     []string // "name: value"
}

// words are what became of a request: the status, what the application saw, and what the client got.
func words(client *http.Client, q question) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at, host := q.url, ""
	for name, ip := range addresses() {
		if rest, found := strings.CutPrefix(q.url, "http://"+name+"/"); found {
			at, host = "http://"+ip+"/"+rest, name
		}
	}
	r, err := http.NewRequestWithContext(ctx, q.method, at, nil)
	if err != nil {
		return err.Error()
	}
	if host != "" {
		r.Host = host
	}
	for _, h := range q.headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	began := time.Now()
	answer, err := client.Do(r)
	if err != nil {
		return "closed " + err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	out := []string{fmt.Sprint(answer.StatusCode)}
	if time.Since(began) > 250*time.Millisecond {
		out = append(out, "late")
	}
	for name, values := range answer.Header {
		if name != "Date" {
			out = append(out, strings.ReplaceAll(strings.ToLower(name)+":"+strings.Join(values, ","), " ", "_"))
		}
	}
	if text := string(body); !strings.HasPrefix(text, "from ") {
		out = append(out, "body="+strings.ReplaceAll(text, " ", "_"))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// outcome is a case of the table: SERVER stands for a and b.
type outcome struct {
	why  string
	ask  question
	want string // words; "!x": no word begins with x
}

func sidecarOutcomes() []outcome {
	get := func(path string, headers ...string) question { return question{"GET", "http://SERVER" + path, headers} }
	return []outcome{
		{"a route without conditions", get("/x?q=1"), "200 x-pod:SERVER x-path:/x x-host:SERVER"},
		{"the server knows its client by its certificate", get("/x"), "200 x-got-x-forwarded-client-cert:*URI=spiffe://cluster.local/ns/shop/sa/client"},
		{"an abort", get("/abort"), "418 body=fault_filter_abort"},
		{"a delay", get("/delay"), "200 late"},
		{"a redirect of the path", get("/old?a=1"), "302 location:http://SERVER/new?a=1"},
		{"a redirect to https", get("/secure?a=1"), "308 location:https://secure.example.com/secure?a=1"},
		{"a direct response", get("/direct"), "202 body=hello"},
		{"a rewritten prefix and host", get("/from/here?q"), "200 x-path:/to/here x-host:other.example.com x-got-x-envoy-original-path:/from/here?q"},
		{"a rewrite by expression", get("/items/42"), "200 x-path:/by-id/42"},
		{"an expression that does not match", get("/items/x"), "200 x-path:/items/x"},
		{"header operations", get("/h?v=2", "x-user: ann", "x-gone: 1", "x-set: 0", "x-add: one"), "200 x-got-x-set:one x-got-x-add:one,two !x-got-x-gone x-answer:set !x-pod"},
		{"a query that does not match", get("/h?v=3", "x-user: ann"), "200 !x-answer"},
		{"a cookie", get("/", "cookie: a=b; user=ben"), "200 x-got-x-route:cookie"},
		{"without a header", get("/without"), "200 x-got-x-route:without"},
		{"without a header that is there", get("/without", "x-not: 1"), "200 !x-got-x-route"},
		{"a method", question{"PUT", "http://SERVER/m", nil}, "200 x-got-x-route:put"},
		{"a path of any case", get("/cAsE"), "200 x-got-x-route:case"},
		{"a server that fails twice", get("/flaky?CLIENT-SERVER"), "200 x-tries:3 x-got-x-envoy-attempt-count:3"},
		{"no retries", get("/once?once-CLIENT-SERVER"), "503 x-tries:1"},
		{"a server that is too slow", get("/slow"), "504 late"},
		{"a preflight", question{"OPTIONS", "http://SERVER/cors", []string{"origin: https://shop.example.com", "access-control-request-method: PUT"}},
			"200 access-control-allow-origin:https://shop.example.com access-control-allow-methods:GET,PUT access-control-allow-headers:x-token access-control-max-age:3600 access-control-allow-credentials:true !x-pod"},
		{"a request of another origin", get("/cors", "origin: https://shop.example.com"), "200 access-control-allow-origin:https://shop.example.com x-pod:SERVER"},
		{"a service without endpoints", get("/nobody"), "503 body=no_healthy_upstream"},
		{"a path that is denied", get("/admin/x"), "403 body=RBAC:_access_denied"},
		{"a path that is denied, in disguise", get("/x/../admin/x"), "403 body=RBAC:_access_denied"},
		{"a method that is denied", question{"DELETE", "http://SERVER/x", nil}, "403 body=RBAC:_access_denied"},
		{"a method that a header allows", question{"DELETE", "http://SERVER/x", []string{"x-role: owner"}}, "200 x-pod:SERVER"},
		{"a path that is not among the allowed", get("/private"), "403 body=RBAC:_access_denied"},
		{"a subset", question{"GET", "http://both/x", []string{"x-to: SERVER"}}, "200 x-pod:SERVER x-host:both"},
		{"a pod of a headless service, by its address", question{"GET", "http://peers-SERVER:8080/x", nil}, "200 x-pod:SERVER x-got-x-forwarded-client-cert:*URI=spiffe://cluster.local/ns/shop/sa/client"},
		{"a host that nobody knows, at a known address", get("/x", "host: nobody.example.com"), "*"},
		{"the proxy itself, where a Sidecar has it listen", question{"GET", "http://127.0.0.1/x", []string{"host: SERVER"}}, "200 x-pod:SERVER x-got-x-forwarded-client-cert:*URI=spiffe://cluster.local/ns/shop/sa/client"},
		{"a host that nobody knows, at the proxy itself", question{"GET", "http://127.0.0.1/x", []string{"host: nobody.example.com"}}, "503 body=no_healthy_upstream"},
		{"through an egress gateway", question{"GET", "http://outside.example.com/out", []string{"x-via: SERVER"}}, "200 x-pod:outside x-path:/out x-host:outside.example.com"},
	}
}

// TestOutcomes sends the same requests through a stock Envoy and through heddle-proxy, to servers behind each, and wants the same of all: what the
// table says, and every other header field, too.
func TestOutcomes(t *testing.T) {
	l := outcomesLab(t)
	for _, server := range []string{"a", "b"} {
		for _, o := range sidecarOutcomes() {
			t.Run("to "+server+": "+o.why, func(t *testing.T) {
				var got [2]string
				for i, client := range []string{"client-a", "client-b"} {
					fill := strings.NewReplacer("SERVER", server, "CLIENT", client)
					q := question{o.ask.method, fill.Replace(o.ask.url), nil}
					for _, h := range o.ask.headers {
						q.headers = append(q.headers, fill.Replace(h))
					}
					answer := words(l.client(client), q)
					judge(t, client, answer, fill.Replace(o.want))
					got[i] = comparable(answer, client)
				}
				for i, peer := range []string{"Envoy", "ours"} {
					if lacks := without(got[1-i], got[i]); lacks != "" {
						t.Errorf("what came through %s lacks %s", peer, lacks)
					}
				}
			})
		}
	}
	for _, client := range []string{"client-a", "client-b"} {
		t.Run(client+": shares", func(t *testing.T) { l.shares(t, client) })
		t.Run(client+": bytes", func(t *testing.T) { l.bytes(t, client) })
	}
	t.Run("strangers", l.strangers)
	t.Run("gateways", l.gateways)
	for _, refusal := range l.plane.refusals() {
		t.Error(refusal)
	}
}

// comparable leaves out of an answer what differs from one request, and one client, to the next.
func comparable(answer, client string) string {
	var out []string
	for _, w := range strings.Fields(answer) {
		name, value, _ := strings.Cut(w, ":")
		if strings.HasSuffix(name, "-time") || strings.HasSuffix(name, "-ms") || name == "x-tries" {
			value = "*"
		}
		if value != "" {
			w = name + ":" + varying.ReplaceAllString(value, "*")
		}
		out = append(out, strings.NewReplacer(client, "CLIENT", guests()[client].ip, "CLIENT").Replace(w))
	}
	return strings.Join(out, " ")
}

// without are the words of a that b lacks.
func without(a, b string) string {
	have := strings.Fields(b)
	return strings.Join(slices.DeleteFunc(strings.Fields(a), func(w string) bool { return slices.Contains(have, w) }), " ")
}

// varying are identifiers.
var varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|Hash=[0-9a-f]{64}`)

// judge compares words; "*" accepts anything that is an answer, "name:*text" a header that contains text.
func judge(t *testing.T, who, got, want string) {
	t.Helper()
	t.Helper()
	have := strings.Fields(got)
	for _, w := range strings.Fields(want) {
		absent, negated := strings.CutPrefix(w, "!")
		name, part, contains := strings.Cut(w, ":*")
		found := slices.ContainsFunc(have, func(h string) bool {
			switch {
			case negated:
				return strings.HasPrefix(h, absent)
			case contains:
				return strings.HasPrefix(h, name+":") && strings.Contains(h, part)
			}
			return h == w
		})
		if w != "*" && found == negated {
			t.Errorf("%s: want %s\ngot  %s", who, w, got)
		}
	}
}

// shares wants four fifths of requests at a.
func (l *lab) shares(t *testing.T, client string) {
	const requests = 300
	n, c := 0, l.client(client)
	for range requests {
		if slices.Contains(strings.Fields(words(c, question{"GET", "http://both/x", nil})), "x-pod:a") {
			n++
		}
	}
	if n < requests*7/10 || n > requests*9/10 {
		t.Errorf("%d of %d requests went to a, not about %d", n, requests, requests*8/10)
	}
}

// bytes wants TCP to be carried.
func (l *lab) bytes(t *testing.T, client string) {
	for _, server := range []string{"a", "b"} {
		got, err := l.say(client, addresses()[server]+":9000")
		if err != nil || got != server+" got hello\n" {
			t.Errorf("%s: %q, %v", server, got, err)
		}
	}
}

// say sends a line from a guest and returns the answer.
func (l *lab) say(client, to string) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := l.hosts[client].DialContext(ctx, "tcp", to)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintln(conn, "hello"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

// strangers are refused: by their identity, or for want of one.
func (l *lab) strangers(t *testing.T) {
	for _, server := range []string{"a", "b"} {
		for _, client := range []string{"stranger-a", "stranger-b"} {
			judge(t, client, words(l.client(client), question{"GET", "http://" + server + "/x", nil}), "403 body=RBAC:_access_denied")
			if got, err := l.say(client, addresses()[server]+":9000"); err == nil {
				t.Errorf("%s is let through to %s: %q", client, server, got)
			}
		}
		if got := words(l.client("plain"), question{"GET", "http://" + guests()[server].ip + ":8080/x", nil}); !strings.HasPrefix(got, "closed ") {
			t.Errorf("a client without a certificate got from %s: %s", server, got)
		}
	}
}

// gateways of both kinds serve plaintext and TLS alike.
func (l *lab) gateways(t *testing.T) {
	f := l.plane.secrets["edge/shop"]
	pair, err := tls.X509KeyPair(f.Certificate, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.CA)
	for _, gateway := range []string{"ingress-a", "ingress-b"} {
		ip := guests()[gateway].ip
		for _, server := range []string{"a", "b"} {
			t.Run(gateway+" to "+server, func(t *testing.T) {
				path, host := "/"+server+"/y", "host: shop.example.com"
				client := l.client("plain")
				judge(t, gateway, words(client, question{"GET", "http://" + ip + ":8080" + path, []string{host}}),
					"200 x-pod:"+server+" x-path:/y x-got-x-forwarded-client-cert:*spiffe://cluster.local/ns/edge/sa/gateway")
				judge(t, gateway, words(client, question{"GET", "http://" + ip + ":8081" + path, []string{host}}), "301 location:https://shop.example.com"+path)
				judge(t, gateway, words(client, question{"GET", "http://" + ip + ":8080" + path, []string{"host: other.example.com"}}), "404")
				secure := &tls.Config{RootCAs: roots, ServerName: "shop.example.com", InsecureSkipVerify: true} // its name is of no account here
				client.Transport.(*http.Transport).TLSClientConfig = secure
				judge(t, gateway, words(client, question{"GET", "https://" + ip + ":8443" + path, []string{host}}), "200 x-pod:"+server)
				mutual := question{"GET", "https://" + ip + ":9443" + path, []string{host}}
				if got := words(client, mutual); !strings.HasPrefix(got, "closed ") {
					t.Errorf("without a certificate: %s", got)
				}
				client = l.client("plain")
				secure = secure.Clone()
				secure.Certificates = []tls.Certificate{pair}
				client.Transport.(*http.Transport).TLSClientConfig = secure
				judge(t, gateway, words(client, mutual), "200 x-pod:"+server)
			})
		}
	}
}

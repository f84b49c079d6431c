package tour

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The hosts of the two ingress gateways.
const (
	PublicHost  = "shop.example.com"
	PrivateHost = "backoffice.example.internal"
)

// foreignLimit is how long the load balancers of somebody else's cluster may take.
const foreignLimit = time.Minute

// Secrets writes the certificates that the gateways' samples name.
func (c *Cluster) Secrets(ctx context.Context) error {
	for name, host := range map[string]string{"shop-public": PublicHost, "shop-private": PrivateHost} {
		pair := c.Certs.Host[host]
		if err := c.secret(ctx, name, corev1.SecretTypeTLS, map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key}); err != nil {
			return err
		}
	}
	if len(c.OutsideCA) == 0 {
		return nil
	}
	return c.secret(ctx, "outside-ca", corev1.SecretTypeOpaque, map[string][]byte{"cacert": c.OutsideCA})
}

func (c *Cluster) secret(ctx context.Context, name string, kind corev1.SecretType, data map[string][]byte) error {
	secrets := c.kube.CoreV1().Secrets(GatewayNamespace)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind, Data: data}
	_, err := secrets.Create(ctx, s, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(ctx, s, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing secret %s: %w", name, err)
	}
	return nil
}

// errNoAddress is what GatewayAddress returns, wrapped, where nobody gave the Service an address.
var errNoAddress = errors.New("it has no address")

// GatewayAddress waits for the address of a gateway's Service.
func (c *Cluster) GatewayAddress(ctx context.Context, name string) (addr string, err error) {
	limit := settleLimit
	if !c.own {
		limit = foreignLimit
	}
	err = eventually(ctx, limit, func(ctx context.Context) error {
		svc, err := c.kube.CoreV1().Services(GatewayNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading service %s: %w", name, err)
		}
		if len(svc.Status.LoadBalancer.Ingress) == 0 {
			return fmt.Errorf("service %s: %w", name, errNoAddress)
		}
		first := svc.Status.LoadBalancer.Ingress[0]
		addr = cmp.Or(first.IP, first.Hostname)
		return nil
	})
	return addr, err
}

// door is a client at one gateway's address.
type door struct {
	name   string
	proto  int // major version of HTTP
	client *http.Client
}

// at returns a client that connects to a gateway whatever the URL says, and shows sni. It keeps its connection.
func (s *Stage) at(name, addr, sni string, h2 bool) *door {
	t := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{ServerName: sni, RootCAs: s.Certs.Pool}, MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(to)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(addr, port))
		}}
	t.Protocols.SetHTTP1(!h2)
	t.Protocols.SetHTTP2(h2)
	d := &door{name: name, proto: 1, client: &http.Client{Transport: t, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if h2 {
		d.proto = 2
	}
	return d
}

// answer is what a gateway sent.
type answer struct {
	code    int
	version string // the mark of the shop's applications; empty where the gateway itself answered
	proto   int    // major version of HTTP
	reused  bool   // over a connection that an earlier request had
	body    string
}

// get asks for a host; all requests of a door go to one URL, so that they share a connection.
func (d *door) get(ctx context.Context, host, path string) (a answer, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { a.reused = c.Reused }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://gateway.invalid"+path, nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = host
	resp, err := d.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a.code, a.version, a.proto, a.body = resp.StatusCode, resp.Header.Get("X-Version"), resp.ProtoMajor, string(body)
	return a, err
}

// authority is the file that printed commands read the demo's authority from.
var authority = filepath.Join(os.TempDir(), "heddle-demo-ca.pem")

// curl are the arguments to ask a gateway's address for a host.
func (h hosting) curl(addr string) string {
	return fmt.Sprintf("--cacert %[4]s --resolve %[1]s:443:%[2]s https://%[1]s%[3]s", h.host, addr, h.path, authority)
}

// hosting is a gateway, and a host with a path that its application answers with 200.
type hosting struct{ gateway, host, path string }

// ingress is claim 7.
func ingress(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "gateways/gateways.yaml"); err != nil {
		return err
	}
	s.cleanup(ctx, "canary/90-10.yaml") // the catalog's route is the mesh's, but one version is enough here
	public, private := hosting{"internet", PublicHost, "/"}, hosting{"intranet", PrivateHost, "/items"}
	for _, g := range []struct{ own, other hosting }{{public, private}, {private, public}} {
		addr, err := s.GatewayAddress(ctx, g.own.gateway)
		if errors.Is(err, errNoAddress) && !s.own {
			return NotShown{fmt.Sprintf("this cluster gives a Service of type LoadBalancer no address: %v", err)}
		}
		if err != nil {
			return err
		}
		if err := s.ownHost(ctx, addr, g.own); err != nil {
			return err
		}
		if err := s.strange(ctx, addr, g.own.gateway, g.other); err != nil {
			return err
		}
		for _, h2 := range []bool{false, true} {
			version := "--http1.1"
			if h2 {
				version = "--http2"
			}
			s.Ran("curl %s %s --next %s -H 'Host: %s' %s", version, g.own.curl(addr), version, g.other.host, hosting{host: g.own.host, path: g.other.path}.curl(addr))
			if err := s.otherHost(ctx, s.at(g.own.gateway, addr, g.own.host, h2), g.own, g.other); err != nil {
				return fmt.Errorf("HTTP/2 %v: %w", h2, err)
			}
		}
	}
	return nil
}

// ownHost wants a gateway to serve its host.
func (s *Stage) ownHost(ctx context.Context, addr string, own hosting) error {
	if err := os.WriteFile(authority, s.Certs.CA, 0o600); err != nil {
		return fmt.Errorf("writing the demo's authority: %w", err)
	}
	s.Ran("curl %s", own.curl(addr))
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		d := s.at(own.gateway, addr, own.host, false)
		defer d.client.CloseIdleConnections()
		a, err := d.get(ctx, own.host, own.path)
		if err != nil {
			return fmt.Errorf("%s gateway, own host: %w", own.gateway, err)
		}
		if a.code != http.StatusOK || a.version == "" {
			return fmt.Errorf("%s gateway, own host: %d, from version %q: %s", own.gateway, a.code, a.version, a.body)
		}
		s.Saw("%s gateway (%s), %s: 200 from %s, %d bytes", own.gateway, addr, own.host, a.version, len(a.body))
		return nil
	})
}

// strange wants a gateway to shake no hands for the other gateway's host.
func (s *Stage) strange(ctx context.Context, addr, gateway string, other hosting) error {
	d := s.at(gateway, addr, other.host, false)
	defer d.client.CloseIdleConnections()
	s.Ran("curl %s", other.curl(addr))
	a, err := d.get(ctx, other.host, other.path)
	if err == nil {
		return fmt.Errorf("%s gateway answered %d to the other host, SNI and Host matching", gateway, a.code)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%s gateway cannot be reached: %w", gateway, err)
	}
	if slow := net.Error(nil); errors.As(err, &slow) && slow.Timeout() {
		return fmt.Errorf("%s gateway does not refuse the other host, it says nothing: %w", gateway, err)
	}
	var shown *tls.CertificateVerificationError
	if errors.As(err, &shown) {
		return fmt.Errorf("%s gateway shows a certificate for the other host: %w", gateway, err)
	}
	s.Saw("%s gateway, SNI and Host %s: %v", gateway, other.host, err)
	return nil
}

// otherHost wants a gateway to keep the other gateway's host to itself, over a connection that its own host was served on.
func (s *Stage) otherHost(ctx context.Context, d *door, own, other hosting) error {
	defer d.client.CloseIdleConnections()
	first, err := d.get(ctx, own.host, own.path)
	if err != nil {
		return fmt.Errorf("%s gateway, own host: %w", d.name, err)
	}
	if first.code != http.StatusOK || first.version == "" {
		return fmt.Errorf("%s gateway, own host: %d, from version %q: %s", d.name, first.code, first.version, first.body)
	}
	second, err := d.get(ctx, other.host, other.path)
	if err != nil {
		return fmt.Errorf("%s gateway, other host over an own connection: %w", d.name, err)
	}
	if !second.reused || second.proto != d.proto || first.proto != d.proto {
		return fmt.Errorf("%s gateway: HTTP/%d, then HTTP/%d, over the same connection: %v; want HTTP/%d over one", d.name, first.proto, second.proto, second.reused, d.proto)
	}
	if second.version != "" || second.code != http.StatusNotFound && second.code != http.StatusMisdirectedRequest {
		return fmt.Errorf("%s gateway answered %d (from version %q) to the other host over its own host's connection: %s", d.name, second.code, second.version, second.body)
	}
	s.Saw("%s gateway, SNI and Host %s: 200; then Host %s over the same connection (HTTP/%d): %d, by the gateway itself", d.name, own.host, other.host, d.proto, second.code)
	return nil
}

const outsideURL = "http://outside.example"

// egress is claim 8.
func egress(ctx context.Context, s *Stage) error {
	if len(s.OutsideCA) == 0 {
		return NotShown{"this cluster has no node of its own for egress and no outside"}
	}
	s.cleanup(ctx, "egress/egress.yaml", "egress/registry-only.yaml")
	alone := []string{"-timeout", "5s", outsideURL + "/"}
	s.asks(fromWorker, alone...)
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromWorker, alone...)
		if err == nil && t.Codes["200"] != 0 {
			err = fmt.Errorf("the worker reaches the outside on its own: %s", t)
		}
		if err == nil {
			s.Saw("from worker, without the gateway: %s", t)
		}
		return err
	}); err != nil {
		return err
	}
	if err := s.apply(ctx, "egress/egress.yaml"); err != nil {
		return err
	}
	defer s.cleanup(ctx, "egress/egress.yaml", "egress/registry-only.yaml")
	for _, c := range []struct{ what, url, seen string }{
		{"HTTP", outsideURL + "/", ""},
		{"HTTPS, its own TLS to the server, by SNI", "https://outside.example/", `outside.example`},
		{"HTTP inside, TLS originated by the gateway", "http://api.outside.example/", `api.outside.example`},
	} {
		if err := s.leaves(ctx, c.what, c.url, c.seen); err != nil {
			return err
		}
	}
	return s.registryOnly(ctx)
}

func (s *Stage) leaves(ctx context.Context, what, url, seen string) error {
	args := []string{"-insecure", "-timeout", "5s", url}
	s.asks(fromWorker, args...)
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromWorker, args...)
		if err != nil {
			return err
		}
		if !t.All("200") || !strings.Contains(t.Body, seen) {
			return fmt.Errorf("%s through the egress gateway: %s, body %s", what, t, t.Body)
		}
		s.Saw("%s: %s; the server saw %s", what, t, oneLine(t.Body))
		return nil
	})
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return s[:min(len(s), 240)]
}

// registryOnly wants unknown hosts refused where only policy holds them back.
func (s *Stage) registryOnly(ctx context.Context) error {
	unlisted := []string{"-fresh", "http://unlisted.example/"}
	t, err := s.Client(ctx, fromRoamer, unlisted...)
	if err != nil {
		return err
	}
	if !t.All("200") {
		return fmt.Errorf("from roamer, ALLOW_ANY: %s, want 200: else REGISTRY_ONLY proves nothing", t)
	}
	s.Saw("from roamer, ALLOW_ANY, a host that nobody declared: %s", t)
	if err := s.apply(ctx, "egress/registry-only.yaml"); err != nil {
		return err
	}
	s.asks(fromRoamer, unlisted...)
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromRoamer, unlisted...)
		if err != nil {
			return err
		}
		if !t.All("502") {
			return fmt.Errorf("from roamer, REGISTRY_ONLY: %s, want 502", t)
		}
		s.Saw("from roamer, REGISTRY_ONLY: %s (samples/egress/README.md says why a NetworkPolicy belongs beside it)", t)
		return nil
	})
}

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

// GatewayAddress waits for the address of a gateway's Service.
func (c *Cluster) GatewayAddress(ctx context.Context, name string) (addr string, err error) {
	err = eventually(ctx, settleLimit, func(ctx context.Context) error {
		svc, err := c.kube.CoreV1().Services(GatewayNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading service %s: %w", name, err)
		}
		if len(svc.Status.LoadBalancer.Ingress) == 0 {
			return fmt.Errorf("service %s has no address", name)
		}
		first := svc.Status.LoadBalancer.Ingress[0]
		addr = cmp.Or(first.IP, first.Hostname)
		return nil
	})
	return addr, err
}

// door is a client at one gateway's address.
type door struct {
	addr, name string
	client     *http.Client
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
	return &door{addr: addr, name: name, client: &http.Client{Transport: t, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// get asks for a host; all requests of a door go to one URL, so that they share a connection.
func (d *door) get(ctx context.Context, scheme, host, path string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://gateway.invalid"+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(body), err
}

// ingress is claim 7.
func ingress(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "gateways/gateways.yaml"); err != nil {
		return err
	}
	s.cleanup(ctx, "canary/90-10.yaml") // the catalog's route is the mesh's, but one version is enough here
	for _, g := range []struct{ name, own, other, path string }{{"internet", PublicHost, PrivateHost, "/"}, {"intranet", PrivateHost, PublicHost, "/items"}} {
		addr, err := s.GatewayAddress(ctx, g.name)
		if err != nil {
			return err
		}
		if err := s.ownHost(ctx, g.name, addr, g.own, g.path); err != nil {
			return err
		}
		if err := s.otherHost(ctx, g.name, addr, g.own, g.other); err != nil {
			return err
		}
	}
	return nil
}

// ownHost wants a gateway to serve its host.
func (s *Stage) ownHost(ctx context.Context, name, addr, host, path string) error {
	s.Ran("curl --cacert demo-ca.pem --resolve %s:443:%s https://%s%s", host, addr, host, path)
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		code, body, err := s.at(name, addr, host, false).get(ctx, "https", host, path)
		if err != nil {
			return fmt.Errorf("%s gateway, own host: %w", name, err)
		}
		if code != http.StatusOK {
			return fmt.Errorf("%s gateway, own host: %d %s", name, code, body)
		}
		s.Saw("%s gateway (%s), %s: 200, %d bytes", name, addr, host, len(body))
		return nil
	})
}

// otherHost wants a gateway to keep the other gateway's host to itself, however it is asked for.
func (s *Stage) otherHost(ctx context.Context, name, addr, own, other string) error {
	if code, _, err := s.at(name, addr, other, false).get(ctx, "https", other, "/"); err == nil {
		return fmt.Errorf("%s gateway answered %d to the other host, SNI and Host matching", name, code)
	} else {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return fmt.Errorf("%s gateway cannot be reached: %w", name, err)
		}
		s.Saw("%s gateway, SNI and Host %s: %v", name, other, err)
	}
	for _, h2 := range []bool{false, true} {
		d := s.at(name, addr, own, h2)
		if code, body, err := d.get(ctx, "https", own, "/items"); err != nil || code == 0 {
			return fmt.Errorf("%s gateway, own host (HTTP/2 %v): %d %s %w", name, h2, code, body, err)
		}
		code, _, err := d.get(ctx, "https", other, "/items")
		if err != nil {
			return fmt.Errorf("%s gateway, other host over an own connection: %w", name, err)
		}
		if code != http.StatusNotFound && code != http.StatusMisdirectedRequest {
			return fmt.Errorf("%s gateway answered %d to the other host over its own host's connection (HTTP/2 %v)", name, code, h2)
		}
		s.Saw("%s gateway, SNI %s, then Host %s over the same connection (HTTP/2 %v): %d", name, own, other, h2, code)
	}
	return nil
}

const outsideURL = "http://outside.example"

// egress is claim 8.
func egress(ctx context.Context, s *Stage) error {
	if len(s.OutsideCA) == 0 {
		return NotShown{"this cluster has no node of its own for egress and no outside"}
	}
	s.cleanup(ctx, "egress/egress.yaml", "egress/registry-only.yaml")
	s.Ran("kubectl -n shop exec deploy/client-worker -c client -- /shop client %s/", outsideURL)
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromWorker, "-timeout", "5s", outsideURL+"/")
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
	s.Ran("kubectl -n shop exec deploy/client-worker -c client -- /shop client -insecure %s", url)
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromWorker, "-insecure", "-timeout", "5s", url)
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
	t, err := s.client(ctx, fromRoamer, "http://unlisted.example/")
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
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromRoamer, "-fresh", "http://unlisted.example/")
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

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/tests/tour"
)

const (
	marketHost = "market.example.com"
	// ingressLimit is how long a gateway may take to serve what was just applied; who may not read Secrets is asked again within seconds.
	ingressLimit = 3 * time.Minute
)

// TestIngressSample applies the sample, and asks at the gateway's address for what its README says.
func TestIngressSample(t *testing.T) {
	c := connect(t)
	certificates, err := tour.NewCertificates(marketHost)
	if err != nil {
		t.Fatal(err)
	}
	pair := certificates.Host[marketHost]
	apply(t, c, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: market}\ntype: kubernetes.io/tls\ndata: {tls.crt: %s, tls.key: %s}\n",
		base64.StdEncoding.EncodeToString(pair.Cert), base64.StdEncoding.EncodeToString(pair.Key)))
	sample(t, c, "ingress/ingress.yaml")
	address := ingressAddress(t)
	market := visitor(address, &tls.Config{ServerName: marketHost, RootCAs: certificates.Pool})
	for _, path := range []string{"/items", "/"} {
		eventually(t, t.Context(), ingressLimit, func() error { return visit(t.Context(), market, "http", path, http.StatusOK) })
	}
	if err := visit(t.Context(), market, "https", "/", http.StatusOK); err == nil {
		t.Error("the gateway shows a certificate that nobody let it have")
	}
	sample(t, c, "ingress/secrets.yaml")
	for _, path := range []string{"/items", "/"} {
		eventually(t, t.Context(), ingressLimit, func() error { return visit(t.Context(), market, "https", path, http.StatusOK) })
	}
	if want, err := c.GatewayAddress(t.Context(), "internet"); err != nil || want != address {
		t.Errorf("the Ingress says %s, the gateway has %s (%v)", address, want, err)
	}
}

// sample applies a sample for the length of the test.
func sample(t *testing.T, c *tour.Cluster, path string) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Remove(context.Background(), path, tour.ShopNamespace); err != nil {
			t.Error(err)
		}
	})
	if err := c.Sample(t.Context(), path, tour.ShopNamespace); err != nil {
		t.Fatal(err)
	}
}

// ingressAddress waits until the Ingress says where it is to be had.
func ingressAddress(t *testing.T) (address string) {
	t.Helper()
	kube := clientset(t)
	eventually(t, t.Context(), ingressLimit, func() error {
		in, err := kube.NetworkingV1().Ingresses(tour.ShopNamespace).Get(t.Context(), "market", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(in.Status.LoadBalancer.Ingress) == 0 {
			return fmt.Errorf("the Ingress has no address")
		}
		address = in.Status.LoadBalancer.Ingress[0].IP
		return nil
	})
	return address
}

// visitor is a client that connects to an address whatever the URL says, anew for each request.
func visitor(address string, config *tls.Config) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(to)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(address, port))
		}}}
}

func visit(ctx context.Context, client *http.Client, scheme, path string, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+marketHost+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want || resp.Header.Get("X-Version") == "" {
		return fmt.Errorf("%s %s: status %d, version %q", scheme, path, resp.StatusCode, resp.Header.Get("X-Version"))
	}
	return nil
}

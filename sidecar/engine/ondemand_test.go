package engine_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/sidecar/config"
)

const tableOnDemand = `
"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
name: "80"
ignore_port_in_host_matching: true
vhds: {config_source: {ads: {}}}
virtual_hosts: [{name: rest, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 418}}]}]
---
"@type": type.googleapis.com/envoy.config.route.v3.VirtualHost
name: 80/catalog
domains: [catalog, catalog.shop]
routes: [{name: default, match: {prefix: /}, route: {cluster: outbound|80||catalog}}]
`

// TestARequestWaitsForItsHost holds requests for hosts that the control plane was not asked about: one goes on when it answers, with mutual TLS
// like any other, and one that it never answers is refused rather than sent where unknown hosts go.
func TestARequestWaitsForItsHost(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s xfcc=%s", r.Host, r.Header.Get("X-Forwarded-Client-Cert"))
	}))
	defer app.Close()
	plane := newPlane(t)
	w := world{Inbound: ports.Free(t), Outbound: ports.Free(t), App: portOf(t, app.Listener.Addr().String()),
		Identity: "spiffe://cluster.local/ns/shop/sa/catalog", Deny: "/secret", Timeout: "5s"}
	plane.push("catalog", fill(t, serverResources, w))
	all, table := fill(t, clientResources, w), fill(t, tableOnDemand, w)
	host := table[resource.VirtualHostType]
	all[resource.RouteType] = table[resource.RouteType]
	plane.push("web", all)
	plane.start("catalog")
	plane.onDemand = true
	plane.start("web")

	ask := func(host string) (status int, body string, took time.Duration, err error) {
		began := time.Now()
		request, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+w.Outbound, nil)
		if err != nil {
			return 0, "", 0, err
		}
		request.Host = host
		response, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			return 0, "", 0, err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return response.StatusCode, string(text), time.Since(began), err
	}
	eventually(t, "the server's sidecar listens", func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:"+w.Inbound)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	eventually(t, "what is no host goes where unknown hosts go", func() error {
		if status, body, _, err := ask("no!host"); err != nil || status != 418 {
			return fmt.Errorf("status %d: %s, %v", status, body, err)
		}
		return nil
	})
	never := make(chan error, 1)
	go func() {
		status, _, took, err := ask("never")
		if err == nil && (status != 503 || took < config.Hold/2) {
			err = fmt.Errorf("status %d after %s", status, took)
		}
		never <- err
	}()
	held := make(chan error, 1)
	go func() {
		status, body, took, err := ask("Catalog:80")
		switch {
		case err != nil:
		case took >= config.Hold: // the machine stood still
		case status != 200 || !strings.Contains(body, "URI=spiffe://cluster.local/ns/shop/sa/web"):
			err = fmt.Errorf("status %d after %s: %s", status, took, body)
		}
		held <- err
	}()
	eventually(t, "the control plane is asked", func() error {
		if asked := plane.asked.all(); !slices.Contains(asked, "80/catalog") {
			return fmt.Errorf("only for %q", asked)
		}
		return nil
	})
	all[resource.VirtualHostType] = host
	plane.push("web", all)
	if err := <-held; err != nil {
		t.Errorf("the request that was held: %v", err)
	}
	eventually(t, "another name of the host", func() error {
		if status, _, _, err := ask("catalog.shop"); status != 200 || err != nil {
			return fmt.Errorf("status %d, %v", status, err)
		}
		return nil
	})
	if err := <-never; err != nil {
		t.Errorf("the request for which there was no answer: %v", err)
	}
	if nacks := plane.nacks.all(); len(nacks) > 0 {
		t.Errorf("refused: %q", nacks)
	}
}

package interop

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/internal/ports"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
)

// newFilesPlane is the control plane as heddled assembles it without Kubernetes, over a folder with one file; objects is that file.
func newFilesPlane(t *testing.T, text []byte) (p *plane, objects string) {
	t.Helper()
	dir := t.TempDir()
	in, err := source.FromYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	p = &plane{t: t, in: in, tokens: map[string]string{}}
	tokens := ""
	for i, pod := range in.Pods {
		name := pod.Namespace + "/" + pod.Name
		p.tokens[name] = fmt.Sprintf("%032d", i)
		tokens += p.tokens[name] + " " + pod.Namespace + " " + pod.Name + "\n"
	}
	objects = filepath.Join(dir, "objects", "mesh.yaml")
	if err := os.Mkdir(filepath.Dir(objects), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{objects: text, filepath.Join(dir, "tokens"): []byte(tokens)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder := source.NewFolder(source.FolderOptions{Dir: filepath.Dir(objects), Mesh: *source.DefaultMesh(), Log: slog.New(slog.DiscardHandler)})
	root, err := authority.Ensure(t.Context(), authority.Folder{Dir: filepath.Join(dir, "ca")}, trustDomain, time.Now(), func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	p.assemble(root, attest.Config{Reviewer: attest.TokenFile{Path: filepath.Join(dir, "tokens"), Pods: folder.Pod}, Cached: folder.Pod, Live: folder.Pod}, folder)
	memo, endpointMemo := translate.NewMemo(), translate.NewEndpointMemo()
	folder.OnInputs(func(in *inputs.Inputs) {
		snapshot, _ := translate.Translate(in, memo)
		p.publisher.SetSnapshot(snapshot)
	}, func(in *inputs.Inputs) {
		endpoints, workloads := translate.Endpoints(in, endpointMemo)
		p.publisher.SetWorkloads(workloads)
		p.publisher.SetEndpoints(endpoints)
	})
	p.background(folder.Run)
	return p, objects
}

// TestFilesOnly holds that a folder drives a stock Envoy and programs with gRPC's xDS client, and tells them of a file that changes.
func TestFilesOnly(t *testing.T) {
	envoy.Require(t)
	backend, gateway := ports.Address(t), ports.Address(t)
	_, backendPort, _ := net.SplitHostPort(backend)
	_, port, _ := net.SplitHostPort(gateway)
	edge := guest{name: "edge-1", namespace: "shop", account: "edge", ip: "127.0.0.1", gateway: true, labels: map[string]string{"app": "edge"}}
	answer := func(rest string) string {
		return edge.yaml() + fmt.Sprintf(`---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: backend, namespace: shop}
spec: {hosts: [backend.example.com], resolution: STATIC, location: MESH_EXTERNAL, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 127.0.0.1, ports: {http: %s}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {selector: {app: edge}, servers: [{port: {number: %s, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec: {hosts: ['*'], gateways: [edge], http: [{%s}]}
`, backendPort, port, rest)
	}
	rpc, servers, client := proxylessMesh(t)
	p, objects := newFilesPlane(t, []byte(rpc+answer("route: [{destination: {host: backend.example.com}}]")))
	t.Run("gRPC", func(t *testing.T) { p.proxyless(t, servers, client) })
	t.Run("Envoy", func(t *testing.T) {
		l, err := net.Listen("tcp", backend)
		if err != nil {
			t.Fatal(err)
		}
		serveHTTP(t, l, "backend")
		dir := p.agent(edge.namespace, edge.name)
		e := envoy.Start(t, envoy.Options{ID: edge.node().ID(), Metadata: map[string]any{wire.MetaCertificates: dir}, Discovery: p.local, TLS: p.envoyTLS(dir)})
		e.Ready()
		want := func(what string) {
			t.Helper()
			got := ""
			for until := time.Now().Add(settleWithin); time.Now().Before(until) && got != what; time.Sleep(look) {
				if answer, err := http.Get("http://" + gateway + "/"); err == nil {
					body, _ := io.ReadAll(answer.Body)
					_ = answer.Body.Close()
					got = string(body)
				}
			}
			if got != what {
				t.Errorf("Envoy answers %q, want %q", got, what)
			}
		}
		want("from backend")
		fresh := objects + ".new"
		if err := os.WriteFile(fresh, []byte(rpc+answer("directResponse: {status: 200, body: {string: changed}}")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, objects); err != nil {
			t.Fatal(err)
		}
		want("changed")
	})
}

package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/heddle-mesh/heddle/tests/internal/netlab"
	"github.com/heddle-mesh/heddle/tests/internal/process"
)

const dnsIP = "10.9.9.53"

// knownNames is a mesh with names of every kind: a Service, a headless one, ServiceEntries with and without addresses.
const knownNames = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: shop}
spec:
  hosts: [ext.example.com]
  ports: [{number: 7000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 10.1.0.7}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild, namespace: shop}
spec:
  hosts: ["*.wild.example.com"]
  addresses: [10.8.0.9]
  ports: [{number: 7000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 10.1.0.7}]
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, ports: [{name: tcp, port: 7000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints:
- {addresses: [10.1.0.7], hostname: db-0, conditions: {ready: true}}
- {addresses: [10.1.0.8], hostname: db-1, conditions: {ready: true}}
ports: [{name: tcp, port: 7000, protocol: TCP}]
`

// nameserver answers for what.example.org on a host of the lab.
type nameserver struct{ asked atomic.Int64 }

func (n *nameserver) serve(t *testing.T, host *netlab.Host) {
	t.Helper()
	host.Do(func() {
		socket, err := net.ListenPacket("udp", net.JoinHostPort(dnsIP, "53"))
		if err != nil {
			panic(err)
		}
		t.Cleanup(func() { _ = socket.Close() })
		go func() {
			buf := make([]byte, 4096)
			for {
				size, from, err := socket.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = socket.WriteTo(n.answer(t, buf[:size]), from)
			}
		}()
	})
}

func (n *nameserver) answer(t *testing.T, raw []byte) []byte {
	n.asked.Add(1)
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		t.Errorf("the upstream is asked nonsense: %v", err)
		return nil
	}
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	switch {
	case !strings.HasSuffix(q.Name.String(), ".example.org."):
		t.Errorf("the upstream is asked for %s", q.Name)
	case q.Name.String() != "what.example.org.":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 600}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 5}}}}
	}
	out, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return out
}

// TestNamesOfTheMesh has a pod whose DNS is captured ask as applications do, and dial what it is told.
func TestNamesOfTheMesh(t *testing.T) {
	client := guest{name: "client-1", namespace: "shop", account: "client", ip: "10.1.0.1", labels: map[string]string{"app": "client"}, proxy: "heddle", dns: dnsIP}
	text := knownNames + serviceYAML("web", "shop", "10.8.0.1", []string{"http:80:8080"}, client)
	l := startLab(t, text, nil, []guest{client})
	upstream := &nameserver{}
	upstream.serve(t, l.net.Host(netip.MustParseAddr(dnsIP)))
	greet(l.net.Host(netip.MustParseAddr("10.1.0.7")).Listen("10.1.0.7:7000"))
	host := l.hosts[client.name]
	var given string
	for _, network := range []string{"udp", "tcp"} {
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return host.DialContext(ctx, network, net.JoinHostPort(dnsIP, "53"))
		}}
		lookup := func(name string) string { return resolved(t, resolver, name) }
		for name, want := range map[string]string{
			"web.shop.svc.cluster.local.":     "10.8.0.1",
			"web.shop.":                       "10.8.0.1",
			"db.shop.svc.cluster.local.":      "10.1.0.7 10.1.0.8",
			"db-1.db.shop.svc.cluster.local.": "10.1.0.8",
			"any.wild.example.com.":           "10.8.0.9",
			"what.example.org.":               "192.0.2.5",
			"none.example.org.":               "no such host",
		} {
			if got := lookup(name); got != want {
				t.Errorf("%s over %s is %s, want %s", name, network, got, want)
			}
		}
		given = lookup("ext.example.com.")
		for _, to := range []string{given, "10.8.0.9", "10.1.0.7"} {
			if got := greeted(host, to); got != "hello" {
				t.Errorf("dialling %s: %s", to, got)
			}
		}
	}
	if !strings.HasPrefix(given, "240.240.") {
		t.Errorf("a ServiceEntry without addresses is %s", given)
	}
	if upstream.asked.Load() == 0 {
		t.Error("the upstream was not asked")
	}
	if got := getent(t, host, "ext.example.com"); !strings.HasPrefix(got, given+" ") {
		t.Errorf("the C library says %q, want %s", got, given)
	}
}

// resolved are the addresses of a name, or what went wrong in one word.
func resolved(t *testing.T, r *net.Resolver, name string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	all, err := r.LookupHost(ctx, name)
	if err != nil {
		if failed, ok := err.(*net.DNSError); ok {
			return failed.Err
		}
		return err.Error()
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// greet says hello to everybody.
func greet(l net.Listener) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
}

func greeted(host *netlab.Host, ip string) string {
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	conn, err := host.DialContext(ctx, "tcp", net.JoinHostPort(ip, "7000"))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	said, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(said)
}

// getent asks the C library within a host, as a program of the pod would: with the pod's own resolv.conf.
func getent(t *testing.T, host *netlab.Host, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver "+dnsIP+"\noptions timeout:30\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, said strings.Builder
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("mount --bind %s /etc/resolv.conf && exec getent ahostsv4 %s", file, name))
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	running, err := process.Start(cmd, host.Enter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.Kill)
	for until := time.Now().Add(2 * startWithin); time.Now().Before(until); time.Sleep(look) {
		if ended, err := running.Ended(); ended {
			if err != nil {
				t.Fatalf("getent: %v: %s", err, said.String())
			}
			return out.String()
		}
	}
	t.Fatal("getent does not end")
	return ""
}

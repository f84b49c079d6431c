package interop

import (
	"bufio"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// envSoak is how long the traffic lasts, as Go writes durations; a tenth of that, five minutes at most, goes ahead to warm up.
const envSoak = "HEDDLE_SOAK"

// envHeaps is a folder for profiles of the proxies' memory, one at every look at rest; none are written where it is empty.
const envHeaps = "HEDDLE_SOAK_HEAPS"

const (
	soakDefault = 5 * time.Second
	warmest     = 5 * time.Minute
	restWithin  = 90 * time.Second // after traffic has ended, until what was for it has gone
	calmFor     = 4                // looks, a second apart, at which nothing may change
	swapEvery   = time.Second
	soakTTL     = 30 * time.Second // of certificates: they are renewed every 15 s
)

// What a proxy may have more of after the traffic than after the warm-up, at rest and with garbage collected.
const (
	moreGoroutines = 6       // of timers, and of a certificate that is just renewed
	moreHeap       = 3 << 20 // bytes, of the runtime's own and of what is cached
	moreResident   = 24 << 20
)

func soakGuests() []guest {
	one := func(name, account, ip, proxy, app string) guest {
		return guest{name: name, namespace: "shop", account: account, ip: ip, proxy: proxy, labels: map[string]string{"app": app, "version": name}, ttl: soakTTL}
	}
	edge := one("edge", "edge", "10.1.0.4", "heddle", "edge")
	edge.gateway = true
	return []guest{one("client", "client", "10.1.0.1", "heddle", "client"), one("one", "server", "10.1.0.2", "heddle", "server"),
		one("two", "server", "10.1.0.3", "heddle", "server"), edge, one("plain", "plain", "10.1.0.5", "", "plain")}
}

// The addresses of the servers' Service, of one without endpoints, and of the gateway.
const serverIP, nobodyIP, edgeIP = "10.96.0.1", "10.96.0.2", "10.1.0.4"

var serverPorts = []string{"http:80:8080", "http2:81:8081", "grpc:7070:7070", "tcp:9000:9000"}

// soakMesh is the mesh's state number i: routes change from each to the next, and the second server is away in every fifth.
func soakMesh(i int) string {
	all := soakGuests()
	servers := all[1:3]
	if i%5 == 4 {
		servers = all[1:2]
	}
	text := fmt.Sprintf(soakText, i, 40+i%20, 60-i%20) + serviceYAML("nobody", "shop", nobodyIP, serverPorts[:1])
	// serviceYAML takes a single server for the only one that there ever is.
	text += strings.ReplaceAll(serviceYAML("server", "shop", serverIP, serverPorts, servers...), "selector: {service: server}", "selector: {app: server}")
	for _, g := range all {
		text += g.yaml()
	}
	return text
}

// soakText lets connections that are not used go soon, so that there are as few at rest before as after.
const soakText = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: server, namespace: shop}
spec:
  host: server.shop.svc.cluster.local
  trafficPolicy: {connectionPool: {http: {idleTimeout: 2s}}}
  subsets: [{name: one, labels: {version: one}}, {name: two, labels: {version: two}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server, namespace: shop}
spec:
  hosts: [server.shop.svc.cluster.local]
  http:
  - {name: flaky, match: [{uri: {prefix: /flaky}}], retries: {attempts: 5, retryOn: '5xx'}, route: [{destination: {host: server}}]}
  - {name: late, match: [{uri: {prefix: /late}}], timeout: 100ms, route: [{destination: {host: server}}]}
  - {name: nobody, match: [{uri: {prefix: /nobody}}], route: [{destination: {host: nobody}}]}
  - name: rest
    match: [{port: 80}]
    headers: {request: {set: {x-state: '%d'}}}
    route: [{destination: {host: server}, weight: %d}, {destination: {host: server}, headers: {request: {set: {x-other: 'yes'}}}, weight: %d}]
  - {name: others, route: [{destination: {host: server}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {app: edge}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: [shop.example.com]}
  - {port: {number: 8443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: shop}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec: {hosts: [shop.example.com], gateways: [edge], http: [{route: [{destination: {host: server.shop.svc.cluster.local, port: {number: 80}}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {selector: {matchLabels: {app: server}}, action: DENY, rules: [{to: [{operation: {paths: [/admin*], ports: ['8080']}}]}]}
---
`

// TestMixedTrafficLeavesNothingBehind holds that proxies end with the goroutines and the memory that they began with, after all kinds of traffic,
// changes of the mesh every second, certificates that are renewed, servers that come and go, and clients that behave badly. No request fails that
// may not. It lasts as long as HEDDLE_SOAK says: `make test-long` says an hour.
func TestMixedTrafficLeavesNothingBehind(t *testing.T) {
	lasts := soakDefault
	if text := os.Getenv(envSoak); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", envSoak, err)
		}
	}
	resident := moreResident
	if lasts < time.Minute {
		resident = 1 << 30 // the warm-up is too short to say anything of pages
	}
	f := newFiles(t)
	l := startLab(t, soakMesh(0), map[string]model.Secret{"shop/shop": f.pair}, soakGuests())
	// What is no HTTP is passed on to the address that it was meant for. Where nobody had that, it would be tracked as a connection of the proxy's for
	// two minutes, and one of the client's that has the same port by then would be refused.
	l.net.Host(netip.MustParseAddr(serverIP))
	apps := l.soakApps()
	swap := l.swaps()
	l.traffic(min(lasts/10, warmest)+2*time.Second, swap)
	before := l.calm(apps)
	l.traffic(lasts, swap)
	l.back(apps, before, resident)
	for _, refusal := range l.plane.refusals() {
		t.Error(refusal)
	}
}

// swaps returns a function that gives the mesh its next state.
func (l *lab) swaps() (next func()) {
	memo, endpointMemo, i := translate.NewMemo(), translate.NewEndpointMemo(), 0
	return func() {
		i++
		in, err := source.FromYAML([]byte(soakMesh(i)))
		if err != nil {
			l.t.Error(err)
			return
		}
		snapshot, _ := translate.Translate(in, memo)
		endpoints, workloads := translate.Endpoints(in, endpointMemo)
		l.plane.publisher.SetSnapshot(snapshot)
		l.plane.publisher.SetWorkloads(workloads)
		l.plane.publisher.SetEndpoints(endpoints)
	}
}

// usage is what a proxy takes: the heap's objects and the process's pages in bytes.
type usage struct{ goroutines, heap, resident int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d KiB of heap, %d KiB resident", u.goroutines, u.heap>>10, u.resident>>10)
}

// usage reads a proxy's own numbers.
func (l *lab) usage(name string) (u usage, err error) {
	answer, err := l.client(name).Get("http://127.0.0.1:" + strconv.Itoa(wire.PortAdmin) + wire.PathPrometheus)
	if err != nil {
		return u, err
	}
	defer answer.Body.Close()
	into := map[string]*int{"go_goroutines": &u.goroutines, "go_memstats_heap_alloc_bytes": &u.heap, "process_resident_memory_bytes": &u.resident}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		metric, value, _ := strings.Cut(lines.Text(), " ")
		if at := into[metric]; at != nil {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return u, err
			}
			*at = int(n)
			delete(into, metric)
		}
	}
	if len(into) > 0 {
		return u, fmt.Errorf("%s does not tell all of its numbers: %w", name, lines.Err())
	}
	return u, nil
}

// usages looks at every proxy, all at once.
func (l *lab) usages() map[string]usage {
	l.t.Helper()
	for _, p := range l.proxies {
		if err := syscall.Kill(p.PID(), syscall.SIGUSR1); err != nil {
			l.t.Fatal(err)
		}
	}
	time.Sleep(time.Second) // nothing tells when they have collected their garbage; who reads too early looks again
	all := map[string]usage{}
	for name := range l.proxies {
		u, err := l.usage(name)
		if err != nil {
			l.t.Fatal(err)
		}
		all[name] = u
	}
	return all
}

// calm returns the proxies' usage when the goroutines of none have been more, or fewer, for a while: the most goroutines and the least memory of it.
func (l *lab) calm(apps *soakApps) map[string]usage {
	l.t.Helper()
	apps.rest()
	var looks []map[string]usage
	for until := time.Now().Add(restWithin); time.Now().Before(until); {
		if looks = append(looks, l.usages()); len(looks) < calmFor {
			continue
		}
		looks = looks[len(looks)-calmFor:]
		if u, calm := summary(looks); calm {
			for name, u := range u {
				l.t.Logf("%s after the warm-up: %v", name, u)
			}
			return u
		}
	}
	l.t.Fatalf("the proxies do not come to rest: %v", looks)
	return nil
}

// summary says whether the goroutines are about as many at every look.
func summary(looks []map[string]usage) (all map[string]usage, calm bool) {
	all, calm = map[string]usage{}, true
	for name, u := range looks[0] {
		least := u.goroutines
		for _, look := range looks {
			o := look[name]
			least = min(least, o.goroutines)
			u = usage{max(u.goroutines, o.goroutines), min(u.heap, o.heap), min(u.resident, o.resident)}
		}
		calm = calm && u.goroutines-least <= moreGoroutines
		all[name] = u
	}
	return all, calm
}

// back wants each proxy to take no more than it did before.
func (l *lab) back(apps *soakApps, before map[string]usage, resident int) {
	l.t.Helper()
	apps.rest()
	var now map[string]usage
	left := func(name string) bool {
		u, b := now[name], before[name]
		return u.goroutines > b.goroutines+moreGoroutines || u.heap > b.heap+moreHeap || u.resident > b.resident+resident
	}
	for until := time.Now().Add(restWithin); time.Now().Before(until); {
		now = l.usages()
		if !slices.ContainsFunc(slices.Collect(maps.Keys(now)), left) {
			break
		}
	}
	for name, u := range now {
		l.t.Logf("%s in the end: %v", name, u)
		if left(name) {
			_ = syscall.Kill(l.proxies[name].PID(), syscall.SIGUSR2) // it says what its goroutines do
			time.Sleep(time.Second)
			l.t.Errorf("%s has %v in the end, after the warm-up it had %v", name, u, before[name])
		}
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/distribution"
)

// late is the way of one replica to the API server, which may hold back what watches tell: the replica reads and writes, and knows what it knew.
type late struct {
	address string

	mu   sync.Mutex
	free chan struct{} // closed: nothing is held back
}

func newLate(t *testing.T, api string) *late {
	t.Helper()
	l := &late{free: make(chan struct{})}
	close(l.free)
	way := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: api})
	way.FlushInterval, way.ErrorLog = -1, log.New(io.Discard, "", 0)
	way.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Query().Get("watch") != "" {
			r.Body = told{r.Body, l}
		}
		return nil
	}
	server := httptest.NewServer(way)
	l.address = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() { l.release(); server.CloseClientConnections(); server.Close() })
	return l
}

// told is the body of a watch.
type told struct {
	io.ReadCloser
	way *late
}

func (b told) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.way.mu.Lock()
	free := b.way.free
	b.way.mu.Unlock()
	<-free
	return n, err
}

func (l *late) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = make(chan struct{})
}

func (l *late) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.free:
	default:
		close(l.free)
	}
}

// leading is which replica writes.
func (x *replicated) leading() int {
	x.t.Helper()
	holder := ""
	eventually(x.t, "a replica leads", func() bool {
		spec, _ := x.api.find("coordination.k8s.io/v1/leases", "heddle-system/"+wire.LeaderElectionLease)["spec"].(map[string]any)
		holder, _ = spec["holderIdentity"].(string)
		return holder != ""
	})
	if holder == "heddled-2" {
		return 1
	}
	return 0
}

// tells is how many proxies a replica last told the leader of.
func (x *replicated) tells(h *heddled) int {
	data, _ := x.api.find("/v1/configmaps", "heddle-system/"+wire.DistributionConfigMap)["data"].(map[string]any)
	text, _ := data[h.config.podName].(string)
	var m struct{ Report distribution.Report }
	if json.Unmarshal([]byte(text), &m) != nil {
		return 0
	}
	return m.Report.Proxies
}

// acknowledged is what a VirtualService says of who has it.
func (x *replicated) acknowledged(name string) string {
	status, _ := x.api.find("networking.istio.io/v1/virtualservices", "shop/"+name)["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if m, _ := c.(map[string]any); m["type"] == "Acknowledged" {
			return fmt.Sprint(m["message"])
		}
	}
	return ""
}

func virtualService(name string) string {
	return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %[1]s, namespace: shop, generation: 1}\n"+
		"spec: {hosts: [%[1]s.example.com], http: [{route: [{destination: {host: web}}]}]}\n", name)
}

// TestAProxyMovesToAReplicaThatLags moves a proxy between two heddleds, one of which is not told what changed: there it has what that one knows, and loses
// nothing that both know; back again, it has the newer state. How many proxies have an object is right all the while.
func TestAProxyMovesToAReplicaThatLags(t *testing.T) {
	var ways []*late
	x := startReplicasBy(t, func(api string) string {
		ways = append(ways, newLate(t, api))
		return ways[len(ways)-1].address
	})
	first := x.leading()
	newer, lagging, api := x.replicas[first], x.replicas[1-first], ways[1-first]
	x.way.redirect(newer.config.serve.discovery)
	p := x.connect()
	eventually(t, "the proxy is told of the mesh", func() bool { return p.has("web") })
	x.api.apply(service("both") + "---\n" + virtualService("early"))
	eventually(t, "both know the mesh", func() bool { return p.has("both") && knows(newer, "both") && knows(lagging, "both") })
	counted := func(name, want string) {
		t.Helper()
		got := ""
		defer func() {
			if t.Failed() {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}()
		eventually(t, "who has "+name, func() bool { got = x.acknowledged(name); return got == want })
	}
	counted("early", "acknowledged by 1 of 1 proxies")

	api.hold()
	x.api.apply(service("new"))
	x.api.remove("/v1/services", "shop/web")
	eventually(t, "the newer state", func() bool { return p.has("new") && !p.has("web") })
	x.api.apply(service("web"))
	eventually(t, "it comes back", func() bool { return p.has("web") })
	forget(p)
	moved := func(to *heddled, what string, holds func() bool) {
		t.Helper()
		before := p.dials.Load()
		x.way.redirect(to.config.serve.discovery)
		eventually(t, what, func() bool { return p.dials.Load() > before && holds() })
		eventually(t, "one replica has the proxy", func() bool {
			return len(to.pilot.discovery.Progress()) == 1 && len(newer.pilot.discovery.Progress())+len(lagging.pilot.discovery.Progress()) == 1
		})
		for _, name := range []string{"web", "both"} {
			if p.lost(name) {
				t.Errorf("%s: %s was taken away, which both know", what, name)
			}
		}
		if refused := to.pilot.discovery.Progress()[0].Refusals; len(refused) > 0 {
			t.Errorf("%s: the proxy refused %v", what, refused)
		}
	}
	moved(lagging, "the older state", func() bool { return p.has("both") && !p.has("new") })
	eventually(t, "the leader is told", func() bool { return x.tells(lagging) == 1 })
	time.Sleep(2 * time.Second) // what it read a second ago still counts
	x.api.apply(virtualService("late"))
	counted("late", "acknowledged by 0 of 1 proxies")

	moved(newer, "the newer state again", func() bool { return p.has("new") })
	counted("late", "acknowledged by 1 of 1 proxies")
	fresh, end := x.connectAs(x.node(), x.plane)
	eventually(t, "what a proxy has that never moved", func() bool { return p.same(fresh) })
	end()

	forget(p)
	api.release()
	eventually(t, "the other knows all", func() bool { return knows(lagging, "new") })
	moved(lagging, "the same state", func() bool { return p.has("new") })
	if p.lost("new") {
		t.Error("new was taken away, which both know by now")
	}
}

// knows reports whether a replica has translated a Service of shop.
func knows(h *heddled, name string) bool {
	s := h.pilot.snapshot.Load()
	for _, svc := range s.Services {
		if svc.Name == name {
			return true
		}
	}
	return false
}

// forget forgets what was taken away from a proxy.
func forget(p *proxy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.gone)
}

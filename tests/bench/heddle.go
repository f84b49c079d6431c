package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/fault"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
	"github.com/heddle-mesh/heddle/sidecar/forward"
	"github.com/heddle-mesh/heddle/sidecar/http1"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// nobody knows no workload: what telemetry costs does not depend on it.
type nobody struct{}

func (nobody) Workload(netip.Addr, string) *exchange.Workload { return nil }

// proxy is Heddle's data path with a mesh hop's own work.
func proxy(ctx context.Context, listen, to string) error {
	runtime.GOMAXPROCS(1)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	recorder := telemetry.New(telemetry.Options{Peers: nobody{}})
	registry := upstream.NewRegistry(upstream.Options{HTTP1: http1.NewTransport})
	store := config.NewStore(registry)
	px := forward.New(forward.Options{Recorder: recorder, Log: log})
	m := listener.New(listener.Options{Store: store, Recorder: recorder, Log: log,
		Servers: listener.Servers{HTTP1: http1.NewServer(http1.Options{Proxy: px, Log: log})}})
	c, err := meshConfig(listen, to)
	if err != nil {
		return err
	}
	store.Swap(c)
	if err := m.Sync(); err != nil {
		return err
	}
	err = registry.Run(ctx)
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	m.Shutdown(end)
	return err
}

func meshConfig(listen, to string) (*config.Config, error) {
	table, err := route.New(routeTable())
	if err != nil {
		return nil, err
	}
	filters, err := meshFilters()
	if err != nil {
		return nil, err
	}
	c := &config.Config{
		Routes:   map[string]*route.Table{"80": table},
		Clusters: map[string]*upstream.Config{},
		Listeners: []*config.Listener{{
			Name: "bench", Binds: []netip.AddrPort{netip.MustParseAddrPort(listen)},
			Via: &exchange.Via{Listener: "bench", Direction: exchange.Outbound},
			Chains: []*config.FilterChain{{HTTP: &config.HTTP{
				RouteName: "80", Filters: filters, NormalizePath: true, RequestID: true, ForwardCert: config.SanitizeSet,
			}}},
		}},
	}
	for h := range hosts {
		name := cluster(h)
		c.Clusters[name] = &upstream.Config{
			Info:      exchange.ClusterInfo{Name: name, Service: exchange.Service{Host: host(h), Name: fmt.Sprint("svc-", h), Namespace: "shop"}},
			Discovery: upstream.Static,
			Endpoints: []*exchange.Endpoint{{Address: netip.MustParseAddrPort(to), Weight: 1}},
			Outlier:   &upstream.Outlier{Consecutive5xx: 5, Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjectionPercent: 10},
		}
	}
	return c, nil
}

func host(h int) string    { return fmt.Sprintf("svc-%d.shop.svc.cluster.local", h) }
func cluster(h int) string { return "outbound|80||" + host(h) }

func routeTable() route.Config {
	c := route.Config{Name: "80", IgnorePort: true}
	for h := range hosts {
		v := route.VirtualHostConfig{Name: host(h) + ":80", Domains: []string{host(h)}, AttemptCount: true,
			Retry: &route.Retry{On: route.OnConnectFailure | route.OnRefusedStream, Attempts: 2, OtherHost: true, HostPicks: 5}}
		for r := range routes {
			v.Routes = append(v.Routes, route.RouteConfig{
				Name:     fmt.Sprint("r", r),
				Match:    route.Match{Path: fmt.Sprintf("/r%d/", r), Headers: []route.HeaderMatch{{Name: "x-user", Match: route.StringMatch{Value: "jane"}}}},
				Clusters: []route.Weighted{{Cluster: cluster(h), Weight: 90}, {Cluster: cluster((h + 1) % hosts), Weight: 10}},
				Request:  headers.Config{Add: []headers.Op{{Name: "x-mesh", Value: "bench", Action: headers.Overwrite}}},
				Response: headers.Config{Remove: []string{"x-powered-by"}},
			})
		}
		c.VirtualHosts = append(c.VirtualHosts, v)
	}
	return c
}

func meshFilters() ([]filter.Named, error) {
	deny, err := rbac.New(rbac.Config{Action: rbac.Deny, Policies: []rbac.Policy{{Name: "deny",
		Permissions: []rbac.Rule{{Kind: rbac.DestinationPort, Port: 1}}, Principals: []rbac.Rule{{Kind: rbac.Any}}}}})
	if err != nil {
		return nil, err
	}
	allow, err := rbac.New(rbac.Config{Policies: []rbac.Policy{{Name: "allow",
		Permissions: []rbac.Rule{{Kind: rbac.Any}}, Principals: []rbac.Rule{{Kind: rbac.DirectSource, Prefix: netip.MustParsePrefix("127.0.0.0/8")}}}}})
	if err != nil {
		return nil, err
	}
	inject, err := fault.New(fault.Config{})
	if err != nil {
		return nil, err
	}
	return filter.Sort([]filter.Named{{Kind: filter.Deny, Filter: deny}, {Kind: filter.Allow, Filter: allow}, {Kind: filter.Fault, Filter: inject}})
}

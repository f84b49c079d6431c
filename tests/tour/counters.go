package tour

import (
	"context"
	"fmt"
	"maps"
	"strings"
)

// side is one proxy's view of a call: its own pods, and the labels of what it counts.
type side struct {
	selector string
	match    where
}

// both are the two views of calls from the client to a service.
func both(service string) []side {
	callee := identityTD + "shop/sa/" + service
	labels := where{"source_principal": clientID, "destination_principal": callee, "destination_service_name": service}
	there := maps.Clone(labels)
	labels["reporter"], labels["source_canonical_service"] = "source", "client"
	there["reporter"], there["connection_security_policy"] = "destination", "mutual_tls"
	return []side{{"app=client", labels}, {"app=" + service, there}}
}

// counters is claim 12.
func counters(ctx context.Context, s *Stage) error {
	s.cleanup(ctx, "canary/0-100.yaml")
	if err := s.requests(ctx); err != nil {
		return err
	}
	return s.connections(ctx)
}

// requests compares the counters of HTTP requests, and of what was in them.
func (s *Stage) requests(ctx context.Context) error {
	const n = 200
	sides := both("catalog")
	for _, side := range sides {
		side.match["response_code"] = "200"
	}
	names := []string{"istio_requests_total", "istio_request_duration_milliseconds_count", "istio_request_bytes_count", "istio_request_bytes_sum",
		"istio_response_bytes_count", "istio_response_bytes_sum"}
	return s.compare(ctx, sides, names, func() (map[string]float64, error) {
		t, err := s.Client(ctx, fromClient, "-n", fmt.Sprint(n), "-c", "4", "-method", "POST", "-body", "an order", catalogURL+"/items")
		if err != nil {
			return nil, err
		}
		if !t.All("200") {
			return nil, fmt.Errorf("the client's own count: %s", t)
		}
		s.Saw("the client's own count: %s, %v bytes there and %v back", t, t.BytesOut, t.BytesIn)
		return map[string]float64{"istio_requests_total": n, "istio_request_duration_milliseconds_count": n, "istio_request_bytes_count": n,
			"istio_request_bytes_sum": t.BytesOut, "istio_response_bytes_count": n, "istio_response_bytes_sum": t.BytesIn}, nil
	})
}

// connections compares the counters of TCP connections, and of what went over them.
func (s *Stage) connections(ctx context.Context) error {
	const n = 50
	names := []string{"istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total", "istio_tcp_received_bytes_total", "istio_tcp_sent_bytes_total"}
	return s.compare(ctx, both("ledger"), names, func() (map[string]float64, error) {
		s.Ran("kubectl -n shop exec %s -c client -- /shop tcpclient -n %d ledger.shop:9000", fromClient.Name, n)
		t, err := s.program(ctx, fromClient, "tcpclient", "-n", fmt.Sprint(n), "ledger.shop:9000")
		if err != nil {
			return nil, err
		}
		if !t.All("ok") {
			return nil, fmt.Errorf("the client's own count: %s", t)
		}
		s.Saw("the client's own count: %s, %v bytes there and %v back", t, t.BytesOut, t.BytesIn)
		return map[string]float64{"istio_tcp_connections_opened_total": n, "istio_tcp_connections_closed_total": n,
			"istio_tcp_received_bytes_total": t.BytesOut, "istio_tcp_sent_bytes_total": t.BytesIn}, nil // received from the client, sent to it
	})
}

// compare wants the counters of both sides to grow by exactly what the client counted.
func (s *Stage) compare(ctx context.Context, sides []side, names []string, run func() (map[string]float64, error)) error {
	before := make([][]gauge, len(sides))
	for i, side := range sides {
		var err error
		if before[i], err = s.gauges(ctx, side.selector, side.match, names...); err != nil {
			return err
		}
	}
	want, err := run()
	if err != nil {
		return err
	}
	for i, side := range sides {
		s.scrapes(side.selector, "istio_")
		seen := make([]string, 0, len(names))
		for _, g := range before[i] {
			if err := s.grown(ctx, g, want[g.name]); err != nil {
				return fmt.Errorf("reporter %s: %w", side.match["reporter"], err)
			}
			seen = append(seen, fmt.Sprintf("%s %v + %v", g.name, g.before, want[g.name]))
		}
		s.Saw("reporter %s, as the client counted: %s", side.match["reporter"], strings.Join(seen, ", "))
	}
	return nil
}

// Visit makes a little traffic of every kind. What fails is not an error of Visit's.
func (c *Cluster) Visit(ctx context.Context) error {
	for _, args := range [][]string{
		{"client", "-n", "20", "-c", "2", "http://storefront.shop:8080/api"},
		{"client", "-n", "20", "-method", "POST", "-body", "an order", catalogURL + "/items"},
		{"client", "-n", "2", catalogURL + "/status/503"},
		{"tcpclient", "-n", "10", "ledger.shop:9000"},
	} {
		if _, err := c.program(ctx, fromClient, args...); err != nil {
			return err
		}
	}
	return nil
}

package tour

import (
	"context"
	"fmt"
)

// counters is claim 12.
func counters(ctx context.Context, s *Stage) error {
	s.cleanup(ctx, "canary/0-100.yaml")
	const n = 200
	sides := []struct {
		selector, reporter string
		match              where
	}{
		{"app=client", "source", where{"source_principal": clientID, "destination_principal": catalogID, "source_canonical_service": "client"}},
		{"app=catalog", "destination", where{"source_principal": clientID, "destination_principal": catalogID, "connection_security_policy": "mutual_tls"}},
	}
	before := make([]float64, len(sides))
	for i, side := range sides {
		side.match["reporter"], side.match["response_code"], side.match["destination_service_name"] = side.reporter, "200", "catalog"
		v, err := s.Metric(ctx, ShopNamespace, side.selector, "istio_requests_total", side.match)
		if err != nil {
			return err
		}
		before[i] = v
	}
	t, err := s.Client(ctx, fromClient, "-n", fmt.Sprint(n), "-c", "4", catalogURL+"/items")
	if err != nil {
		return err
	}
	if !t.All("200") {
		return fmt.Errorf("the client's own count: %s", t)
	}
	for i, side := range sides {
		s.Ran("kubectl get --raw /api/v1/namespaces/shop/pods/POD:15020/proxy/stats/prometheus   # of %s", side.selector)
		if err := s.reach(ctx, ShopNamespace, side.selector, "istio_requests_total", side.match, before[i]+n); err != nil {
			return fmt.Errorf("reporter %s: %w", side.reporter, err)
		}
		s.Saw("istio_requests_total{reporter=%q, ...} of %s: %v + %d, as the client counted", side.reporter, side.selector, before[i], n)
	}
	return s.connections(ctx)
}

// connections compares the TCP counters.
func (s *Stage) connections(ctx context.Context) error {
	const n = 50
	match := where{"reporter": "source", "destination_service_name": "ledger"}
	before, err := s.Metric(ctx, ShopNamespace, "app=client", "istio_tcp_connections_opened_total", match)
	if err != nil {
		return err
	}
	t, err := s.program(ctx, fromClient, "tcpclient", "-n", fmt.Sprint(n), "ledger.shop:9000")
	if err != nil {
		return err
	}
	if !t.All("ok") {
		return fmt.Errorf("the client's own count: %s", t)
	}
	for _, name := range []string{"istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"} {
		if err := s.reach(ctx, ShopNamespace, "app=client", name, match, before+n); err != nil {
			return err
		}
	}
	s.Saw("istio_tcp_connections_opened_total and _closed_total of the ledger: %v + %d, as the client counted", before, n)
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

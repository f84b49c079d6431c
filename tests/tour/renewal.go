package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// renewalLimit is how long after the outage a proxy may take to renew: the demo installs Heddle with short-lived certificates.
const renewalLimit = 3 * time.Minute

// certificate returns the serial number of the client's workload certificate.
func (s *Stage) certificate(ctx context.Context) (string, error) {
	p, err := s.Pod(ctx, ShopNamespace, fromClient.Selector)
	if err != nil {
		return "", err
	}
	out, err := s.Exec(ctx, p, "client", "/shop", "client", "http://127.0.0.1:15000/certs")
	if err != nil {
		return "", err
	}
	var t Tally
	if err := json.Unmarshal([]byte(out), &t); err != nil {
		return "", fmt.Errorf("reading the proxy's certificates: %w", err)
	}
	return t.Body, nil
}

// renewed waits until the client's certificate is another one.
func (s *Stage) renewed(ctx context.Context, before string) error {
	return eventually(ctx, renewalLimit, func(ctx context.Context) error {
		now, err := s.certificate(ctx)
		if err != nil {
			return err
		}
		if now == before {
			return fmt.Errorf("the client's certificate was not renewed")
		}
		s.Saw("the client's certificate was renewed across the outage")
		return nil
	})
}

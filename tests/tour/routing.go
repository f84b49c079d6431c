package tour

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const confidence = 0.999

func (c *Cluster) applyIn(ctx context.Context) func(o *unstructured.Unstructured) error {
	return func(o *unstructured.Unstructured) error { return c.Apply(ctx, o) }
}

// apply applies samples and says so.
func (s *Stage) apply(ctx context.Context, paths ...string) error {
	for _, p := range paths {
		s.Ran("kubectl apply -f samples/%s", p)
		if err := s.Sample(ctx, p, ShopNamespace); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until clients see only the given version of the catalog for a request with these arguments.
func (s *Stage) settle(ctx context.Context, version string, args ...string) error {
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromClient, append(append([]string{"-n", "20"}, args...), catalogURL+"/items")...)
		if err != nil {
			return err
		}
		if t.Versions[version] != t.Sent {
			return fmt.Errorf("want %s only: %s", version, t)
		}
		return nil
	})
}

// headerRule is claim 4.
func headerRule(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "canary/subsets.yaml", "canary/by-user.yaml"); err != nil {
		return err
	}
	if err := s.settle(ctx, "v1"); err != nil {
		return err
	}
	for _, c := range []struct{ user, version string }{{"ada", "v2"}, {"grace", "v1"}, {"", "v1"}} {
		args := []string{"-n", "50"}
		if c.user != "" {
			args = append(args, "-H", "x-user: "+c.user)
		}
		t, err := s.Client(ctx, fromClient, append(args, catalogURL+"/items")...)
		if err != nil {
			return err
		}
		if t.Versions[c.version] != 50 {
			return fmt.Errorf("user %q: %s, want 50 from %s", c.user, t, c.version)
		}
		s.Saw("user %q: %s", c.user, t)
	}
	return nil
}

// canary is claim 5.
func canary(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "canary/subsets.yaml", "canary/90-10.yaml"); err != nil {
		return err
	}
	if err := eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromClient, "-n", "100", catalogURL+"/items")
		if err == nil && (t.Versions["v2"] == 0 || t.Versions["v1"] == 0) {
			err = fmt.Errorf("the canary has not begun: %s", t)
		}
		return err
	}); err != nil {
		return err
	}
	t, err := s.Client(ctx, fromClient, "-n", "1000", "-c", "4", catalogURL+"/items")
	if err != nil {
		return err
	}
	low, high := binomialBounds(1000, 0.1, confidence)
	if got := t.Versions["v2"]; got < low || got > high || !t.All("200") {
		return fmt.Errorf("v2 answered %d of 1,000, want %d to %d: %s", got, low, high, t)
	}
	s.Saw("%s; 99.9 %% bounds for v2: %d to %d", t, low, high)
	return s.move(ctx)
}

// move shifts the canary to 0/100 while POSTs run and streams are open.
func (s *Stage) move(ctx context.Context) error {
	type answer struct {
		t   *Tally
		err error
	}
	posts, streams := make(chan answer, 1), make(chan answer, 1)
	go func() {
		t, err := s.client(ctx, fromClient, "-method", "POST", "-body", "an order", "-c", "4", "-duration", "12s", "-pause", "2ms", catalogURL+"/items")
		posts <- answer{t, err}
	}()
	go func() {
		t, err := s.program(ctx, fromClient, "stream", "-c", "10", catalogURL+"/stream?seconds=12")
		streams <- answer{t, err}
	}()
	time.Sleep(3 * time.Second)
	if err := s.apply(ctx, "canary/0-100.yaml"); err != nil {
		return err
	}
	s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop client -method POST -c 4 -duration 12s %s/items   # meanwhile", catalogURL)
	s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop stream -c 10 '%s/stream?seconds=12'   # meanwhile", catalogURL)
	p, st := <-posts, <-streams
	if p.err != nil || st.err != nil {
		return fmt.Errorf("load while moving: %w, %w", p.err, st.err)
	}
	if !p.t.All("200") || p.t.Versions["v2"] == 0 || p.t.Versions["v1"] == 0 {
		return fmt.Errorf("POSTs while moving: %s", p.t)
	}
	s.Saw("POSTs while moving, retries off: %s", p.t)
	if st.t.Streams != 10 || st.t.Whole != 10 {
		return fmt.Errorf("streams while moving: %d of %d whole, %v", st.t.Whole, st.t.Streams, st.t.Errors)
	}
	s.Saw("streams held open: %d of %d came to their end", st.t.Whole, st.t.Streams)
	return s.settle(ctx, "v2")
}

// tcpSplit is claim 6.
func tcpSplit(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "tcp/ledger.yaml"); err != nil {
		return err
	}
	defer s.cleanup(ctx, "tcp/ledger.yaml")
	low, high := binomialBounds(500, 0.2, confidence)
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.program(ctx, fromClient, "tcpclient", "-n", "500", "ledger.shop:9000")
		if err != nil {
			return err
		}
		if got := t.Versions["v2"]; got < low || got > high || !t.All("ok") {
			return fmt.Errorf("v2 took %d of 500 connections, want %d to %d: %s", got, low, high, t)
		}
		s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop tcpclient -n 500 ledger.shop:9000")
		s.Saw("%s; 99.9 %% bounds for v2: %d to %d", t, low, high)
		return nil
	})
}

package tour

import (
	"context"
	"encoding/json"
	"errors"
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

// give applies an object that is no sample, and says so.
func (s *Stage) give(ctx context.Context, text string) error {
	s.Ran("echo '%s' | kubectl apply -f -", text)
	return s.EachYAML([]byte(text), ShopNamespace, s.applyIn(ctx))
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
	return s.storefront(ctx, "ada", "v2")
}

// storefront wants the shop's page to be whole for a user: behind it the catalog answers as the user's rule says, over HTTP, and the stock,
// over gRPC, and the ledger, over TCP, answer too.
func (s *Stage) storefront(ctx context.Context, user, version string) error {
	args := []string{"-n", "10", "-H", "x-user: " + user, "http://storefront.shop:8080/api"}
	s.asks(fromClient, args...)
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromClient, args...)
		if err != nil {
			return err
		}
		if !t.All("200") {
			return fmt.Errorf("the storefront: %s", t)
		}
		if err := wholePage(t.Body, user, version); err != nil {
			return err
		}
		s.Saw("the storefront, for user %q: %s", user, oneLine(t.Body))
		return nil
	})
}

// wholePage says what is wrong with the storefront's page for a user whose catalog is of a version.
func wholePage(text, user, version string) error {
	type reply struct{ Version, Error string }
	var page struct {
		User                   string
		Catalog, Stock, Ledger reply
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		return fmt.Errorf("reading the storefront's page: %w in %q", err, text)
	}
	for name, r := range map[string]reply{"the catalog (HTTP)": page.Catalog, "the stock (gRPC)": page.Stock, "the ledger (TCP)": page.Ledger} {
		if r.Error != "" || r.Version == "" {
			return fmt.Errorf("the storefront had no answer of %s: %q, from version %q", name, r.Error, r.Version)
		}
	}
	if page.User != user || page.Catalog.Version != version {
		return fmt.Errorf("the storefront showed user %q the catalog %s, want %q and %s", page.User, page.Catalog.Version, user, version)
	}
	return nil
}

// canary is claim 5.
func canary(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "canary/subsets.yaml", "canary/90-10.yaml"); err != nil {
		return err
	}
	if err := s.begun(ctx); err != nil {
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

// begun waits until the canary is in force, and nothing else: without it version 3 would answer too.
func (s *Stage) begun(ctx context.Context) error {
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, fromClient, "-n", "100", catalogURL+"/items")
		if err == nil && (t.Versions["v2"] == 0 || t.Versions["v1"] == 0 || t.Versions["v3"] > 0) {
			err = fmt.Errorf("the canary has not begun: %s", t)
		}
		return err
	})
}

const (
	streams       = 10
	streamSeconds = 12
	moveAfter     = 3 * time.Second
)

// move shifts the canary to 0/100 while POSTs run and streams are open.
func (s *Stage) move(ctx context.Context) error {
	posts, open := make(chan result, 1), make(chan result, 1)
	url := fmt.Sprintf("%s/stream?seconds=%d", catalogURL, streamSeconds)
	go func() {
		t, err := s.client(ctx, fromClient, "-method", "POST", "-body", "an order", "-c", "4", "-duration", "12s", "-pause", "2ms", catalogURL+"/items")
		posts <- result{t, err}
	}()
	go func() {
		t, err := s.program(ctx, fromClient, "stream", "-c", fmt.Sprint(streams), url)
		open <- result{t, err}
	}()
	time.Sleep(moveAfter)
	if err := s.apply(ctx, "canary/0-100.yaml"); err != nil {
		return err
	}
	s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop client -method POST -c 4 -duration 12s %s/items   # meanwhile", catalogURL)
	s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop stream -c %d '%s'   # meanwhile", streams, url)
	p, st := <-posts, <-open
	if err := errors.Join(p.err, st.err); err != nil {
		return fmt.Errorf("load while moving: %w", err)
	}
	if !p.t.All("200") || p.t.Versions["v2"] == 0 || p.t.Versions["v1"] == 0 {
		return fmt.Errorf("POSTs while moving: %s", p.t)
	}
	s.Saw("POSTs while moving, retries off: %s", p.t)
	if err := s.held(st.t); err != nil {
		return err
	}
	return s.settle(ctx, "v2")
}

// held wants every stream to have come to its end, and streams on version 1 among them: those began before the move, and by the time that
// they took they ended long after it.
func (s *Stage) held(t *Tally) error {
	if t.Streams != streams || t.Whole != streams {
		return fmt.Errorf("streams while moving: %d of %d whole, %v", t.Whole, t.Streams, t.Errors)
	}
	if t.Versions["v1"] == 0 || t.Shortest < streamSeconds-1 {
		return fmt.Errorf("streams while moving: none was open on v1 across the move: %v, the shortest took %.1f s", t.Versions, t.Shortest)
	}
	s.Saw("streams held open across the move: %d of %d came to their end, on %v, the shortest after %.1f s", t.Whole, t.Streams, t.Versions, t.Shortest)
	return nil
}

// tcpSplit is claim 6. One version comes first, alone: what is counted afterwards is the split, and not what was there before any rule.
func tcpSplit(ctx context.Context, s *Stage) error {
	defer s.cleanup(ctx, "tcp/ledger.yaml")
	if err := s.apply(ctx, "tcp/ledger.yaml"); err != nil {
		return err
	}
	if err := s.give(ctx, ledgerV1); err != nil {
		return err
	}
	if err := s.ledger(ctx, func(t *Tally) bool { return t.Versions["v2"] == 0 }); err != nil {
		return err
	}
	if err := s.apply(ctx, "tcp/ledger.yaml"); err != nil {
		return err
	}
	if err := s.ledger(ctx, func(t *Tally) bool { return t.Versions["v2"] > 0 }); err != nil {
		return err
	}
	s.Ran("kubectl -n shop exec deploy/client-v1 -c client -- /shop tcpclient -n 500 ledger.shop:9000")
	t, err := s.program(ctx, fromClient, "tcpclient", "-n", "500", "ledger.shop:9000")
	if err != nil {
		return err
	}
	low, high := binomialBounds(500, 0.2, confidence)
	if got := t.Versions["v2"]; got < low || got > high || !t.All("ok") {
		return fmt.Errorf("v2 took %d of 500 connections, want %d to %d: %s", got, low, high, t)
	}
	s.Saw("%s; 99.9 %% bounds for v2: %d to %d", t, low, high)
	return nil
}

// ledgerV1 sends every connection to version 1.
const ledgerV1 = `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: ledger, namespace: shop}, spec: {hosts: [ledger], tcp: [{match: [{port: 9000}], route: [{destination: {host: ledger, subset: v1, port: {number: 9000}}}]}]}}`

// ledger waits until the versions that take 30 connections are the wanted ones.
func (s *Stage) ledger(ctx context.Context, want func(t *Tally) bool) error {
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.program(ctx, fromClient, "tcpclient", "-n", "30", "ledger.shop:9000")
		if err == nil && !(t.All("ok") && want(t)) {
			err = fmt.Errorf("the ledger's rule is not in force: %s", t)
		}
		return err
	})
}

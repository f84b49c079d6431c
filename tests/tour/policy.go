package tour

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"
)

// authorization is claim 9.
func authorization(ctx context.Context, s *Stage) error {
	if err := s.apply(ctx, "canary/subsets.yaml", "authorization/catalog.yaml"); err != nil {
		return err
	}
	defer s.cleanup(ctx, "authorization/catalog.yaml", "authorization/deny-status.yaml")
	catalog, err := s.Pod(ctx, ShopNamespace, "app=catalog")
	if err != nil {
		return err
	}
	direct := fmt.Sprintf("http://%s:8080/items", catalog.Status.PodIP)
	forged := "x-forwarded-client-cert: By=" + catalogID + ";URI=" + identityTD + "shop/sa/storefront"
	for _, c := range []struct {
		what string
		from From
		want string
		args []string
	}{
		{"another identity", fromClient, "403", []string{catalogURL + "/items"}},
		{"the storefront, reading", fromShopping, "200", []string{catalogURL + "/items"}},
		{"the storefront, writing", fromShopping, "403", []string{"-method", "POST", catalogURL + "/items"}},
		{"plaintext", fromPlain, "403", []string{catalogURL + "/items"}},
		{"plaintext, the pod's address directly", fromPlain, "403", []string{direct}},
		{"the pod's address directly", fromClient, "403", []string{direct}},
		{"a forged x-forwarded-client-cert", fromClient, "403", []string{"-H", forged, catalogURL + "/items"}},
		{"a forged x-forwarded-client-cert, plaintext", fromPlain, "403", []string{"-H", forged, catalogURL + "/items"}},
		{"the same account name in another namespace", From{OtherNamespace, "app=storefront", "storefront", "deploy/storefront-v1"}, "403", []string{catalogURL + "/items"}},
	} {
		if err := s.judged(ctx, c.what, c.from, c.want, c.args...); err != nil {
			return err
		}
	}
	return s.denials(ctx)
}

// logLimit is how long a proxy may take to write a line that is due.
const logLimit = 5 * time.Second

// OtherNamespace is injected too and has an account named storefront.
const OtherNamespace = "elsewhere"

func (s *Stage) judged(ctx context.Context, what string, from From, want string, args ...string) error {
	args = append([]string{"-n", "6", "-fresh"}, args...)
	s.asks(from, args...)
	return eventually(ctx, settleLimit, func(ctx context.Context) error {
		t, err := s.client(ctx, from, args...)
		if err != nil {
			return err
		}
		if !t.All(want) {
			return fmt.Errorf("%s: %s, want all %s", what, t, want)
		}
		if want == "403" && !strings.Contains(t.Body, "RBAC: access denied") {
			return fmt.Errorf("%s: refused with %q", what, t.Body)
		}
		s.Saw("%s: %s", what, t)
		return nil
	})
}

// denials looks for the policies' names in the access log, in the lines of requests made for that.
func (s *Stage) denials(ctx context.Context) error {
	if err := s.apply(ctx, "authorization/deny-status.yaml"); err != nil {
		return err
	}
	for _, c := range []struct {
		what, log string
		from      From
		path      string
	}{
		{"a DENY policy", "rbac_access_denied_matched_policy[ns[shop]-policy[no-status]-rule[0]]", fromShopping, unique("/status/200?asked=")},
		{"an ALLOW miss, what was consulted", "consulted[ns[shop]-policy[catalog-readers]", fromClient, unique("/items?asked=")},
	} {
		if err := s.judged(ctx, c.what, c.from, "403", catalogURL+c.path); err != nil {
			return err
		}
		line, err := s.logLine(ctx, "app=catalog", c.path, c.log)
		if err != nil {
			return err
		}
		s.reads("app=catalog", c.path)
		s.Saw("%s, in the access log: %s", c.what, line)
	}
	return nil
}

// reads prints the command by which a reader finds the access log's lines about a path.
func (s *Stage) reads(selector, path string) {
	s.Ran("kubectl -n %s logs -l %s -c heddle-proxy --tail=500 | grep -F '%s'", ShopNamespace, selector, path)
}

// logLine waits for an access log line of any of the pods that is about the path and says what is wanted.
func (s *Stage) logLine(ctx context.Context, selector, path, want string) (found string, err error) {
	err = eventually(ctx, logLimit, func(ctx context.Context) error {
		pods, err := s.Pods(ctx, ShopNamespace, selector)
		if err != nil {
			return err
		}
		about := ""
		for i := range pods {
			log, err := s.Logs(ctx, &pods[i], "heddle-proxy", 500)
			if err != nil {
				return err
			}
			for line := range strings.Lines(log) {
				if !strings.Contains(line, path) {
					continue
				}
				if strings.Contains(line, want) {
					found = line
					return nil
				}
				about = line
			}
		}
		return fmt.Errorf("no access log line of %s about %s holds %q: %s", selector, path, want, about)
	})
	return found, err
}

// habit is what a route does to requests, and how that shows.
type habit struct {
	what, code, flags string
	atLeast, atMost   float64 // seconds of the slowest
	n                 int
	args              []string
}

// resilience is claim 10.
func resilience(ctx context.Context, s *Stage) error {
	s.cleanup(ctx, "authorization/catalog.yaml")
	if err := s.apply(ctx, "canary/subsets.yaml", "resilience/catalog.yaml"); err != nil {
		return err
	}
	defer s.cleanup(ctx, "resilience/catalog.yaml")
	if err := s.settle(ctx, "v1"); err != nil {
		return err
	}
	if _, err := s.shows(ctx, habit{"timeout of 500 ms", "504", "UT", 0.5, 2, 5, []string{catalogURL + "/delay/3s"}}); err != nil {
		return err
	}
	if err := s.retries(ctx, 20); err != nil {
		return err
	}
	_, err := s.shows(ctx, habit{"fault: 300 ms, then 418", "418", "DI,FI", 0.3, 2, 5, []string{"-H", "x-fault: please", catalogURL + "/items"}})
	return err
}

// shows makes requests and wants the habit in the responses and in the metrics.
func (s *Stage) shows(ctx context.Context, h habit) (*Tally, error) {
	match := where{"reporter": "source", "destination_service_name": "catalog", "response_code": h.code, "response_flags": h.flags}
	before, err := s.gauges(ctx, "app=client", match, "istio_requests_total")
	if err != nil {
		return nil, err
	}
	t, err := s.Client(ctx, fromClient, append([]string{"-n", fmt.Sprint(h.n)}, h.args...)...)
	if err != nil {
		return nil, err
	}
	if !t.All(h.code) || t.Slowest < h.atLeast || t.Slowest > h.atMost {
		return nil, fmt.Errorf("%s: %s, slowest %.2f s; want all %s in %v to %v s", h.what, t, t.Slowest, h.code, h.atLeast, h.atMost)
	}
	if err := s.grown(ctx, before[0], float64(h.n)); err != nil {
		return nil, fmt.Errorf("%s: %w", h.what, err)
	}
	s.scrapes("app=client", "istio_requests_total")
	s.Saw("%s: %s, slowest %.2f s; istio_requests_total%v +%d", h.what, t, t.Slowest, match, h.n)
	return t, nil
}

// retries asks a server that fails every other time, and wants its failures counted at its side only: each was tried again.
func (s *Stage) retries(ctx context.Context, n int) error {
	flaky := catalogURL + "/flaky"
	if _, err := s.client(ctx, fromClient, flaky); err != nil { // its answer was a success, so the next one begins with a failure
		return err
	}
	there := where{"reporter": "destination", "source_principal": clientID, "destination_service_name": "catalog"}
	failed, good := maps.Clone(there), maps.Clone(there)
	failed["response_code"], good["response_code"] = "503", "200"
	before := make([]gauge, 0, 2)
	for _, match := range []where{failed, good} {
		g, err := s.gauges(ctx, "app=catalog", match, "istio_requests_total")
		if err != nil {
			return err
		}
		before = append(before, g...)
	}
	t, err := s.shows(ctx, habit{"retries over a server that fails every other time", "200", "-", 0, 5, n, []string{flaky}})
	if err != nil {
		return err
	}
	if !strings.Contains(t.Body, `"X-Envoy-Attempt-Count":"2"`) {
		return fmt.Errorf("retries: no answer came at the second attempt: %s", t.Body)
	}
	for _, g := range before {
		if err := s.grown(ctx, g, float64(n)); err != nil {
			return fmt.Errorf("retries, at the server: %w", err)
		}
	}
	s.scrapes("app=catalog", "istio_requests_total")
	s.Saw("the catalog's proxies counted %d attempts: %d times 503, %d times 200", 2*n, n, n)
	return nil
}

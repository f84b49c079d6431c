package tour

import (
	"context"
	"fmt"
	"strings"
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

// OtherNamespace is injected too and has an account named storefront.
const OtherNamespace = "elsewhere"

func (s *Stage) judged(ctx context.Context, what string, from From, want string, args ...string) error {
	args = append([]string{"-n", "6", "-fresh"}, args...)
	s.Ran("kubectl -n %s exec %s -c %s -- /shop client %s", from.Namespace, from.Name, from.Container, strings.Join(args, " "))
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

// denials looks for the policies' names in the access log.
func (s *Stage) denials(ctx context.Context) error {
	if err := s.apply(ctx, "authorization/deny-status.yaml"); err != nil {
		return err
	}
	if err := s.judged(ctx, "a DENY policy", fromShopping, "403", catalogURL+"/status/200"); err != nil {
		return err
	}
	for what, want := range map[string]string{
		"the DENY policy":                   "rbac_access_denied_matched_policy[ns[shop]-policy[no-status]-rule[0]]",
		"an ALLOW miss, what was consulted": "consulted[ns[shop]-policy[catalog-readers]",
	} {
		line, err := s.logLine(ctx, "app=catalog", want)
		if err != nil {
			return err
		}
		s.Saw("%s, in the access log: %s", what, line)
	}
	return nil
}

// logLine waits for an access log line of any of the pods.
func (s *Stage) logLine(ctx context.Context, selector, want string) (found string, err error) {
	err = eventually(ctx, settleLimit, func(ctx context.Context) error {
		pods, err := s.Pods(ctx, ShopNamespace, selector)
		if err != nil {
			return err
		}
		for i := range pods {
			log, err := s.Logs(ctx, &pods[i], "heddle-proxy", 500)
			if err != nil {
				return err
			}
			for line := range strings.Lines(log) {
				if strings.Contains(line, want) {
					found = line
					return nil
				}
			}
		}
		return fmt.Errorf("no access log line of %s holds %q", selector, want)
	})
	return found, err
}

// resilience is claim 10.
func resilience(ctx context.Context, s *Stage) error {
	s.cleanup(ctx, "authorization/catalog.yaml")
	if err := s.apply(ctx, "canary/subsets.yaml", "resilience/catalog.yaml"); err != nil {
		return err
	}
	if err := s.settle(ctx, "v1"); err != nil {
		return err
	}
	for _, c := range []struct {
		what, code, flags  string
		atLeast, atMost    float64 // seconds of the slowest
		args               []string
		requests, attempts int
	}{
		{"timeout of 500 ms", "504", "UT", 0.5, 2, []string{"-n", "5", catalogURL + "/delay/3s"}, 5, 0},
		{"retries over a server that fails every other time", "200", "-", 0, 5, []string{"-n", "20", catalogURL + "/flaky"}, 20, 2},
		{"fault: 300 ms, then 418", "418", "DI,FI", 0.3, 2, []string{"-n", "5", "-H", "x-fault: please", catalogURL + "/items"}, 5, 0},
	} {
		match := where{"reporter": "source", "destination_service_name": "catalog", "response_code": c.code, "response_flags": c.flags}
		before, err := s.Metric(ctx, ShopNamespace, "app=client", "istio_requests_total", match)
		if err != nil {
			return err
		}
		t, err := s.Client(ctx, fromClient, c.args...)
		if err != nil {
			return err
		}
		if !t.All(c.code) || t.Slowest < c.atLeast || t.Slowest > c.atMost {
			return fmt.Errorf("%s: %s, slowest %.2f s; want all %s in %v to %v s", c.what, t, t.Slowest, c.code, c.atLeast, c.atMost)
		}
		if err := s.reach(ctx, ShopNamespace, "app=client", "istio_requests_total", match, before+float64(c.requests)); err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		s.Saw("%s: %s, slowest %.2f s; istio_requests_total%v +%d", c.what, t, t.Slowest, match, c.requests)
		if c.attempts > 0 && !strings.Contains(t.Body, `"X-Envoy-Attempt-Count":"2"`) {
			return fmt.Errorf("%s: no answer came at the second attempt: %s", c.what, t.Body)
		}
	}
	s.cleanup(ctx, "resilience/catalog.yaml")
	return nil
}

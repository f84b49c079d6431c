package http1_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
	"github.com/heddle-mesh/heddle/sidecar/upstream/hashing"
)

// sticky is a proxy whose requests are hashed by policies, before five backends that say their number.
func sticky(t *testing.T, retry *route.Retry, answer func(n int, w http.ResponseWriter), policies ...route.HashPolicy) *mesh {
	t.Helper()
	var backends []string
	for n := range 5 {
		backends = append(backends, backend(t, func(w http.ResponseWriter, _ *http.Request) {
			if answer != nil {
				answer(n, w)
			}
			_, _ = fmt.Fprintf(w, "backend-%d", n)
		}))
	}
	rs := to("c")
	rs[0].Hash, rs[0].Retry = policies, retry
	return proxy(t, rs, map[string][]string{"c": backends}, func(p *mesh) {
		p.cfg.Clusters["c"].Balancer, p.cfg.Clusters["c"].Hashing = upstream.RingHash, hashing.Sizes{Size: 1024}
	})
}

// fetch sends a GET on a connection of its own and returns the backend's number and the cookie that came with it.
func (p *mesh) fetch(header, value string) (who, cookie string) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+p.addr()+"/", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Close = true
	if header != "" {
		r.Header.Set(header, value)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return string(body), res.Header.Get("set-cookie")
}

// TestStickyByHeader: equal values go to one backend, different ones spread.
func TestStickyByHeader(t *testing.T) {
	p := sticky(t, nil, nil, route.HashPolicy{Kind: route.HashHeader, Name: "user"})
	seen := map[string]bool{}
	for i := range 40 {
		first, _ := p.fetch("User", fmt.Sprint(i))
		again, cookie := p.fetch("User", fmt.Sprint(i))
		if first != again || cookie != "" {
			t.Fatalf("user %d went to %s, then to %s", i, first, again)
		}
		seen[first] = true
	}
	if len(seen) < 4 {
		t.Errorf("40 users went to %d of 5 backends", len(seen))
	}
}

// TestStickyByCookie: a client without the cookie is given one that leads to the backend that answered it.
func TestStickyByCookie(t *testing.T) {
	p := sticky(t, nil, nil, route.HashPolicy{Kind: route.HashCookie, Name: "s", Cookie: &route.Cookie{TTL: time.Minute, Path: "/"}})
	for range 10 {
		first, cookie := p.fetch("", "")
		value, rest, _ := strings.Cut(strings.TrimPrefix(cookie, `s="`), `"`)
		if len(value) != 16 || rest != "; Max-Age=60; Path=/; HttpOnly" {
			t.Fatalf("cookie %s", cookie)
		}
		for range 5 {
			if again, more := p.fetch("Cookie", "other=1; s="+value); again != first || more != "" {
				t.Fatalf("went to %s, with its cookie to %s (%s)", first, again, more)
			}
		}
	}
}

// TestNoCookieForNothing: where the balancer does not hash, nobody is given a cookie.
func TestNoCookieForNothing(t *testing.T) {
	p := sticky(t, nil, nil, route.HashPolicy{Kind: route.HashCookie, Name: "s", Cookie: &route.Cookie{TTL: time.Minute}})
	other := *p.cfg.Clusters["c"]
	other.Balancer, other.Hashing = upstream.RoundRobin, hashing.Sizes{}
	p.cfg.Clusters = map[string]*upstream.Config{"c": &other}
	p.swap()
	if _, cookie := p.fetch("", ""); cookie != "" {
		t.Errorf("given %s", cookie)
	}
}

// TestStickyRetries: retries go to the same backend, unless the policy looks for another.
func TestStickyRetries(t *testing.T) {
	for _, other := range []bool{false, true} {
		calls := make(chan int, 100)
		retry := &route.Retry{On: route.On5xx, Attempts: 2, Base: time.Millisecond, OtherHost: other, HostPicks: 50}
		p := sticky(t, retry, func(n int, w http.ResponseWriter) {
			calls <- n
			w.WriteHeader(http.StatusServiceUnavailable)
		}, route.HashPolicy{Kind: route.HashHeader, Name: "user"})
		for i := range 5 {
			p.fetch("User", fmt.Sprint(i))
			a, b, c := <-calls, <-calls, <-calls
			if same := a == b && b == c; same == other {
				t.Errorf("other hosts wanted: %v; tried %d %d %d", other, a, b, c)
			}
		}
	}
}

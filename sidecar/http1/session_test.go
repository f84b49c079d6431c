package http1_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/session"
	"github.com/heddle-mesh/heddle/sidecar/route"
)

// TestClientsStay: a client stays with the backend that its cookie names, also when that drains; when it is gone, it is told of another one; a retry
// goes elsewhere.
func TestClientsStay(t *testing.T) {
	f, err := session.New(session.Config{Cookie: "s", Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	var backends []string
	for n := range 4 {
		backends = append(backends, backend(t, func(w http.ResponseWriter, r *http.Request) {
			if n == 3 && r.Header.Get("Fail") != "" {
				w.WriteHeader(503)
			}
			_, _ = fmt.Fprintf(w, "backend-%d", n)
		}))
	}
	rs := to("c")
	rs[0].Retry = &route.Retry{On: route.On5xx, Attempts: 3, OtherHost: true, HostPicks: 9}
	p := proxy(t, rs, map[string][]string{"c": backends}, func(p *mesh) {
		p.http.Filters = []filter.Named{{Kind: filter.Session, Filter: f}}
		p.cfg.Clusters["c"].PinDraining = true
		p.cfg.Clusters["c"].Endpoints[1].Draining = true
		p.cfg.Clusters["c"].Endpoints[2].Unhealthy = true
	})
	named := func(n int) string { return "s=" + base64.StdEncoding.EncodeToString([]byte(backends[n])) }
	for range 8 {
		who, cookie := p.fetch("", "")
		if who == "backend-1" || who == "backend-2" || !strings.HasPrefix(cookie, `s="`) || !strings.HasSuffix(cookie, `"; Path=/; HttpOnly`) {
			t.Fatalf("first: %s, %s", who, cookie)
		}
		value, _, _ := strings.Cut(strings.TrimPrefix(cookie, "s="), ";")
		if again, cookie := p.fetch("Cookie", "s="+strings.Trim(value, `"`)); again != who || cookie != "" {
			t.Fatalf("%s, and then %s, %s", who, again, cookie)
		}
	}
	if who, cookie := p.fetch("Cookie", named(1)); who != "backend-1" || cookie != "" {
		t.Errorf("with one that drains: %s, %s", who, cookie)
	}
	if who, cookie := p.fetch("Cookie", named(2)); who == "backend-2" || cookie == "" {
		t.Errorf("with one that is not healthy: %s, %s", who, cookie)
	}
	if who, cookie := p.fetch("Cookie", "s="+base64.StdEncoding.EncodeToString([]byte("10.0.0.1:1"))); cookie == "" {
		t.Errorf("with one that is not there: %s, %s", who, cookie)
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+p.addr()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", named(3))
	r.Header.Set("Fail", "yes")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Set-Cookie") == "" {
		t.Errorf("after a failure: %d, %v", res.StatusCode, res.Header)
	}
	strict, err := session.New(session.Config{Cookie: "s", Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	q := proxy(t, to("c"), map[string][]string{"c": backends}, func(p *mesh) { p.http.Filters = []filter.Named{{Kind: filter.Session, Filter: strict}} })
	if r, _ := q.fetch("Cookie", "s="+base64.StdEncoding.EncodeToString([]byte("10.0.0.1:1"))); !strings.Contains(r, exchange.NoHealthyUpstream.Body()) {
		t.Errorf("strict, with one that is not there: %s", r)
	}
}

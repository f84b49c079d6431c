package route

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
	"github.com/heddle-mesh/heddle/sidecar/filter/headers"
)

// Table is a compiled Config. It never changes.
type Table struct {
	Name string

	exact      map[string]*VirtualHost
	suffixes   []wildcard // longest first
	prefixes   []wildcard // longest first
	any        *VirtualHost
	ignorePort bool
	onDemand   bool
	asked      map[string]*VirtualHost // on demand: what hosts lead to; nil: nowhere
}

type wildcard struct {
	fixed string
	vhost *VirtualHost
}

// VirtualHost is a compiled VirtualHostConfig.
type VirtualHost struct {
	Name         string
	RequireTLS   bool
	AttemptCount bool

	routes []*Route
	hints  []hint // of routes
}

// Route is a compiled RouteConfig together with what its virtual host and table add to it.
type Route struct {
	Name      string
	Origin    Origin
	Operation string
	Redirect  *Redirect
	Direct    *Direct
	Missing   int
	Timeout   time.Duration
	GRPC      *GRPCTimeout
	Idle      *time.Duration
	MaxStream *time.Duration
	Retry     *Retry
	Mirrors   []Mirror
	AutoHost  bool
	TellHost  bool

	match    matcher
	hash     []hashPolicy
	rewrite  rewrite
	redirect rewrite
	clusters []*Target
	total    uint64
	upgrades []UpgradeRule
	reply    Overrides
	response []*headers.Ops
}

// Target is one cluster of a route, with the operations on the way there and back: its own, then the route's, the virtual
// host's and the table's.
type Target struct {
	Cluster   string
	Overrides Overrides

	weight   uint64
	host     string
	request  []*headers.Ops
	response []*headers.Ops
}

// Overrides are the filters that a route puts in the place of its chain's.
type Overrides [filter.Kinds]struct {
	Set    bool
	Filter filter.HTTP // nil: off
}

// New compiles c. Its error names the field that is wrong, as a path below the table
// ("virtual_hosts[1].routes[0].match.path: ...").
func New(c Config) (*Table, error) {
	t := &Table{Name: c.Name, exact: map[string]*VirtualHost{}, ignorePort: c.IgnorePort, onDemand: c.OnDemand}
	outer, err := newLayer(layer{}, c.Request, c.Response)
	if err != nil {
		return nil, err
	}
	for i := range c.VirtualHosts {
		v, err := newVirtualHost(&c.VirtualHosts[i], outer)
		if err == nil {
			err = t.add(v, c.VirtualHosts[i].Domains)
		}
		if err != nil {
			return nil, fmt.Errorf("virtual_hosts[%d].%w", i, err)
		}
	}
	longest := func(a, b wildcard) int { return len(b.fixed) - len(a.fixed) }
	slices.SortStableFunc(t.suffixes, longest)
	slices.SortStableFunc(t.prefixes, longest)
	return t, nil
}

// add enters the domains; a domain may be had only once.
func (t *Table) add(v *VirtualHost, domains []string) error {
	if len(domains) == 0 {
		return fmt.Errorf("domains: none")
	}
	for i, d := range domains {
		d = strings.ToLower(d)
		var taken bool
		switch {
		case d == "":
			return fmt.Errorf("domains[%d]: empty", i)
		case d == "*":
			taken = t.any != nil
			t.any = v
		case d[0] == '*':
			taken = hasWildcard(t.suffixes, d[1:])
			t.suffixes = append(t.suffixes, wildcard{d[1:], v})
		case d[len(d)-1] == '*':
			taken = hasWildcard(t.prefixes, d[:len(d)-1])
			t.prefixes = append(t.prefixes, wildcard{d[:len(d)-1], v})
		default:
			_, taken = t.exact[d]
			t.exact[d] = v
		}
		if taken {
			return fmt.Errorf("domains[%d]: %q is taken already", i, d)
		}
	}
	return nil
}

func hasWildcard(ws []wildcard, fixed string) bool {
	return slices.ContainsFunc(ws, func(w wildcard) bool { return w.fixed == fixed })
}

// layer is what outer levels give to inner ones; inner operations come first.
type layer struct {
	request, response []*headers.Ops
	overrides         Overrides
	retry             *Retry
}

func newLayer(outer layer, request, response headers.Config) (layer, error) {
	l := outer
	req, err := headers.New(request)
	if err != nil {
		return l, fmt.Errorf("request_headers.%w", err)
	}
	resp, err := headers.New(response)
	if err != nil {
		return l, fmt.Errorf("response_headers.%w", err)
	}
	if req != nil {
		l.request = append([]*headers.Ops{req}, outer.request...)
	}
	if resp != nil {
		l.response = append([]*headers.Ops{resp}, outer.response...)
	}
	return l, nil
}

func (l *layer) override(os []filter.Override) error {
	for i, o := range os {
		if o.Kind == 0 || o.Kind >= filter.Kinds {
			return fmt.Errorf("overrides[%d]: unknown kind %d", i, o.Kind)
		}
		is := &l.overrides[o.Kind]
		if heir, ok := o.Filter.(filter.Heir); ok && is.Filter != nil {
			o.Filter = heir.Inherit(is.Filter)
		}
		is.Set, is.Filter = true, o.Filter
	}
	return nil
}

func newVirtualHost(c *VirtualHostConfig, outer layer) (*VirtualHost, error) {
	v := &VirtualHost{Name: c.Name, RequireTLS: c.RequireTLS, AttemptCount: c.AttemptCount}
	l, err := newLayer(outer, c.Request, c.Response)
	if err != nil {
		return nil, err
	}
	if err := l.override(c.Overrides); err != nil {
		return nil, err
	}
	l.retry = c.Retry
	for i := range c.Routes {
		r, err := newRoute(&c.Routes[i], l)
		if err != nil {
			return nil, fmt.Errorf("routes[%d].%w", i, err)
		}
		v.routes, v.hints = append(v.routes, r), append(v.hints, r.match.hint())
	}
	return v, nil
}

func newRoute(c *RouteConfig, outer layer) (*Route, error) {
	r := &Route{
		Name: c.Name, Origin: c.Origin, Operation: c.Operation, Redirect: c.Redirect, Direct: c.Direct, Missing: c.Missing, Timeout: c.Timeout, GRPC: c.GRPC, Idle: c.Idle, MaxStream: c.MaxStream,
		Retry: c.Retry, Mirrors: c.Mirrors, AutoHost: c.Rewrite.AutoHost, TellHost: c.Rewrite.TellHost, upgrades: c.Upgrades, hash: newHashPolicies(c.Hash),
	}
	if r.Retry == nil {
		r.Retry = outer.retry
	}
	l, err := newLayer(outer, c.Request, c.Response)
	if err != nil {
		return nil, err
	}
	if err := l.override(c.Overrides); err != nil {
		return nil, err
	}
	r.reply, r.response = l.overrides, l.response
	r.reply[filter.CORS].Set, r.reply[filter.CORS].Filter = true, nil // as in Envoy, CORS is for what has a cluster
	if r.match, err = newMatcher(&c.Match); err != nil {
		return nil, fmt.Errorf("match.%w", err)
	}
	if r.rewrite, err = newRewrite(c.Rewrite.Prefix, c.Rewrite.Regex, &c.Match); err != nil {
		return nil, fmt.Errorf("rewrite.%w", err)
	}
	if c.Redirect != nil {
		if r.redirect, err = newRewrite(c.Redirect.Prefix, c.Redirect.Regex, &c.Match); err != nil {
			return nil, fmt.Errorf("redirect.%w", err)
		}
	}
	if err := r.action(c, l); err != nil {
		return nil, err
	}
	return r, nil
}

// action compiles the clusters and checks that there is exactly one action.
func (r *Route) action(c *RouteConfig, l layer) error {
	actions := 0
	for _, set := range []bool{len(c.Clusters) > 0, c.Redirect != nil, c.Direct != nil} {
		if set {
			actions++
		}
	}
	if actions != 1 {
		return fmt.Errorf("action: want one of clusters, redirect, direct response, got %d", actions)
	}
	for i := range c.Clusters {
		w := &c.Clusters[i]
		inner, err := newLayer(l, w.Request, w.Response)
		if err == nil {
			err = inner.override(w.Overrides)
		}
		if err != nil {
			return fmt.Errorf("clusters[%d].%w", i, err)
		}
		t := &Target{Cluster: w.Cluster, Overrides: inner.overrides, weight: uint64(w.Weight), host: c.Rewrite.Host,
			request: inner.request, response: inner.response}
		if w.Rewrite != "" {
			t.host = w.Rewrite
		}
		if len(c.Clusters) == 1 {
			t.weight = 1
		}
		r.clusters, r.total = append(r.clusters, t), r.total+t.weight
	}
	if len(c.Clusters) > 0 && r.total == 0 {
		return fmt.Errorf("clusters: weights sum to zero")
	}
	return nil
}

// Local returns what applies where the route answers by itself: redirect and direct response have no target.
func (r *Route) Local() *Overrides { return &r.reply }

// Pick chooses a target by weight; n is random. Nil for a route without clusters.
func (r *Route) Pick(n uint64) *Target {
	if len(r.clusters) == 0 {
		return nil
	}
	if len(r.clusters) == 1 {
		return r.clusters[0]
	}
	n %= r.total
	for _, t := range r.clusters {
		if n < t.weight {
			return t
		}
		n -= t.weight
	}
	return r.clusters[0]
}

// Upgrade says whether an upgrade is allowed, by the route or else by the listener's rules.
func (r *Route) Upgrade(kind exchange.View, listener []UpgradeRule) bool {
	for _, rules := range [...][]UpgradeRule{r.upgrades, listener} {
		for _, u := range rules {
			if kind.EqualFold(u.Type) {
				return u.Enabled
			}
		}
	}
	return false
}

// Outgoing applies the target's request operations and rewrites to x.Request, once, before the first try.
func (r *Route) Outgoing(t *Target, x *exchange.Exchange) {
	for _, o := range t.request {
		o.Apply(&x.Request, x)
	}
	if p := r.rewrite.path(&x.Request, x.Request.Path); p != nil {
		x.OriginalPath = x.Request.Path
		if !x.Quiet {
			x.Request.SetView("x-envoy-original-path", x.OriginalPath)
		}
		x.Request.Path = p
	}
	if t.host != "" {
		if !x.Quiet {
			x.Request.SetView("x-envoy-original-host", x.Request.Authority)
		}
		if r.TellHost {
			ForwardedHost(&x.Request)
		}
		x.Request.Authority = x.Request.Intern(t.host)
	}
}

// Incoming applies the target's response operations to x.Response. With a nil target those of the route alone.
func (r *Route) Incoming(t *Target, x *exchange.Exchange) {
	ops := r.response
	if t != nil {
		ops = t.response
	}
	for _, o := range ops {
		o.Apply(&x.Response, x)
	}
}

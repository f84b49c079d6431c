package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/routes"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter/rbac"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

func modeText(m model.MTLSMode) string {
	return [...]string{"UNSET", "DISABLE", "PERMISSIVE", "STRICT"}[m]
}

// ruleName is a user's rule as people name it: VirtualService shop/catalog http[1].match[0].
func ruleName(o route.Origin) string {
	parts := strings.Split(o.Object, "/") // /apis/GROUP/VERSION/namespaces/NAMESPACE/virtual-service/NAME
	if len(parts) != 8 {
		return ""
	}
	return fmt.Sprintf("VirtualService %s/%s %s", parts[5], parts[7], o.Rule)
}

func ruleNames(r *model.DestinationRule) string {
	var all []string
	for _, n := range r.From {
		all = append(all, "DestinationRule "+n.String())
	}
	return strings.Join(all, " and ")
}

func labelText(s model.Selector) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s)) {
		out = append(out, k+"="+s[k])
	}
	return strings.Join(out, ",")
}

func labelsOf(r *model.DestinationRule, subset string) string {
	for _, s := range r.Subsets {
		if s.Name == subset {
			return labelText(s.Labels)
		}
	}
	return ""
}

func chainName(f *config.FilterChain) string {
	if f.Name == "" {
		return "(unnamed)"
	}
	return f.Name
}

// chainWords say what a chain is for.
func chainWords(f *config.FilterChain) string {
	m, parts := f.Match, []string{}
	switch {
	case f.TLS != nil && slices.Contains(m.ALPN, "istio"), f.TLS != nil && m.Transport == "tls":
		parts = append(parts, "mesh mutual TLS that ends here")
	case f.TLS != nil:
		parts = append(parts, "TLS that ends here")
	case m.Transport == "tls":
		parts = append(parts, "TLS that is passed through")
	case m.Transport == "raw_buffer":
		parts = append(parts, "plaintext")
	}
	if len(m.ServerNames) > 0 {
		parts = append(parts, "SNI "+strings.Join(m.ServerNames, " or "))
	}
	for _, p := range m.Prefixes {
		parts = append(parts, "to "+p.String())
	}
	if f.HTTP != nil {
		parts = append(parts, "HTTP")
	} else {
		parts = append(parts, "bytes")
	}
	return strings.Join(parts, ", ")
}

// passedWords say why a connection does not take a chain.
func passedWords(p config.Passed, c *exchange.Connection) string {
	if p.Fits {
		return p.Of + ": another is more specific"
	}
	if p.Of == "" {
		return "an equal one comes before it"
	}
	is := map[string]string{
		"destination port": fmt.Sprint(c.Destination.Port()), "destination address": c.Destination.Addr().String(), "server name": fmt.Sprintf("%q", c.SNI),
		"transport protocol": c.Transport, "application protocols": strings.Join(c.Offered, ","), "source address": c.Source.Addr().String(),
	}[p.Of]
	if is == "" {
		is = "none"
	}
	return fmt.Sprintf("%s: the connection's is %s", p.Of, is)
}

// judgement asks the policies of one action.
func judgement(f *rbac.Filter, c *exchange.Connection, x *exchange.Exchange) Judgement {
	out := Judgement{Action: "ALLOW"}
	if f.Action() == rbac.Deny {
		out.Action = "DENY"
	}
	for _, a := range f.Explain(c, x) {
		p := Policy{Rule: policyName(a.Policy), Met: a.Met}
		for _, m := range a.Missed {
			where := fmt.Sprintf("from[%d]", m.Index)
			if m.Of == "permissions" {
				where = fmt.Sprintf("to[%d]", m.Index)
			}
			p.Why = append(p.Why, where+" "+m.Why)
		}
		if a.Met {
			out.By = p.Rule
		}
		out.Asked = append(out.Asked, p)
	}
	out.Allowed = (out.By != "") == (out.Action == "ALLOW")
	return out
}

// policyName is ns[shop]-policy[catalog]-rule[0] as people name it.
func policyName(name string) string {
	rest, ok := strings.CutPrefix(name, "ns[")
	namespace, rest, cut := strings.Cut(rest, "]-policy[")
	policy, rule, again := strings.Cut(rest, "]-rule[")
	if !ok || !cut || !again {
		return name
	}
	return fmt.Sprintf("AuthorizationPolicy %s/%s rules[%s", namespace, policy, rule)
}

// told says which rules there are for a host, and what became of each up to the one that takes the request.
func (w *walk) told(h *Hop, p *replica.Proxy, v *route.VirtualHost, asked []route.Asked) {
	if v == nil {
		return
	}
	h.Host = &Host{Name: v.Name}
	host, port := nameAndPort(v.Name)
	if p.Pod.Role == replica.Sidecar && host != "" {
		for _, c := range w.mesh.Index.Consult(p.Scope.Outbound, host, port, w.mesh.Memo) {
			if name := replica.Object("VirtualService", c.VirtualService.From); c.Why == "" {
				h.Host.RuledBy = name
			} else {
				h.Host.Consulted = append(h.Host.Consulted, Not{name, c.Why})
			}
		}
		for _, left := range w.mesh.Index.LeftOut(p.Scope.Outbound, host, port, w.mesh.Memo) {
			h.Rules = append(h.Rules, Rule{Rule: replica.Object("VirtualService", left.From) + " " + left.Rule, Why: left.Why})
		}
	}
	for _, a := range asked {
		name := ruleName(a.Route.Origin)
		if name == "" {
			name = "route " + a.Route.Name
		}
		h.Rules = append(h.Rules, Rule{Rule: name, Name: a.Route.Name, Met: a.Missed == "", Why: a.Missed})
	}
	inOrder(h.Rules, w.order(p, host, port))
	if i := slices.IndexFunc(h.Rules, func(r Rule) bool { return r.Met }); i >= 0 {
		h.Rules = h.Rules[:i+1]
	}
}

// nameAndPort takes a virtual host's name apart: host:port.
func nameAndPort(name string) (host string, port uint16) {
	at := strings.LastIndexByte(name, ':')
	if at < 0 {
		return "", 0
	}
	for _, c := range name[at+1:] {
		if c < '0' || c > '9' {
			return "", 0
		}
		port = port*10 + uint16(c-'0')
	}
	return name[:at], port
}

// order is the place of each rule of a host among its VirtualService's.
func (w *walk) order(p *replica.Proxy, host string, port uint16) map[string]int {
	out := map[string]int{}
	if p.Pod.Role != replica.Sidecar {
		return out
	}
	for _, c := range w.mesh.Index.Consult(p.Scope.Outbound, host, port, w.mesh.Memo) {
		if c.Why != "" {
			continue
		}
		for i, place := range routes.Places(c.VirtualService) {
			if name := replica.Object("VirtualService", place.From) + " " + place.Rule; out[name] == 0 {
				out[name] = i + 1
			}
		}
	}
	return out
}

// inOrder puts rules that the proxy was not told of where they are written.
func inOrder(rules []Rule, place map[string]int) {
	slices.SortStableFunc(rules, func(a, b Rule) int {
		x, y := place[a.Rule], place[b.Rule]
		if x == 0 || y == 0 {
			return 0
		}
		return x - y
	})
}

// routeWords say what a route does.
func routeWords(r *route.Route, before, after *Request) *Route {
	out := &Route{Name: r.Name, Does: "sends it on", Timeout: "none", Retries: "none", Changes: changes(before, after)}
	if r.Timeout > 0 {
		out.Timeout = r.Timeout.String()
	}
	if again := r.Retry; again != nil && again.Attempts > 0 {
		out.Retries = fmt.Sprintf("%d, on %s", again.Attempts, conditions(again.On))
		if again.PerTry > 0 {
			out.Retries += fmt.Sprintf(", each try at most %s", again.PerTry)
		}
		if again.OtherHost {
			out.Retries += ", preferring other hosts"
		}
	}
	for _, m := range r.Mirrors {
		out.Mirrors = append(out.Mirrors, fmt.Sprintf("%g%% copied to %s", float64(m.Fraction)/10_000, m.Cluster))
	}
	return out
}

// conditions are a retry policy's, by Envoy's names.
func conditions(on route.RetryOn) string {
	var out []string
	for i, name := range []string{
		"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "refused-stream", "retriable-4xx", "retriable-status-codes", "cancelled",
		"deadline-exceeded", "internal", "resource-exhausted", "unavailable", "envoy-ratelimited", "http3-post-connect-failure",
	} {
		if on&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return strings.Join(out, ",")
}

// settings say whom a cluster stands for and what holds for connections to it.
func (w *walk) settings(t *Target, p *replica.Proxy, c *upstream.Config) {
	svc, rule, subset, port := w.service(p, t.Cluster)
	t.Subset = subset
	if svc != nil {
		kind := "Service"
		if svc.Entry {
			kind = "ServiceEntry"
		}
		t.Service = fmt.Sprintf("%s, port %s", replica.Object(kind, svc.From), naming.Port(port))
	}
	if rule != nil {
		t.Rule = ruleNames(rule)
	}
	if c == nil || inboundTo(t.Cluster) || isBlackHole(t.Cluster) {
		return
	}
	t.Balancer = [...]string{"least request", "round robin", "random", "passthrough", "ring hash", "maglev"}[c.Balancer]
	add := func(set bool, format string, args ...any) {
		if set {
			t.Settings = append(t.Settings, fmt.Sprintf(format, args...))
		}
	}
	add(c.ConnectTimeout > 0 && c.ConnectTimeout != 10*time.Second, "connect timeout %s", c.ConnectTimeout)
	add(c.Limits.Connections > 0, "at most %v connections", c.Limits.Connections)
	add(c.Limits.Pending > 0, "at most %v pending requests", c.Limits.Pending)
	add(c.Limits.Requests > 0, "at most %v requests at once", c.Limits.Requests)
	add(c.Protocol == upstream.UseHTTP2, "HTTP/2")
	if o := c.Outlier; o != nil {
		add(true, "outlier detection: ejected for %s after %d 5xx in a row", o.BaseEjection, o.Consecutive5xx)
	}
}

// endpointWords say what is known of an endpoint.
func endpointWords(e reached, s *secured) Endpoint {
	out := Endpoint{Address: e.Address.String(), State: "healthy", TLS: "plaintext", Share: float64(int(e.share*100+0.5)) / 100}
	if e.Host != "" {
		out.Address = fmt.Sprintf("%s:%d", e.Host, e.Address.Port())
	}
	if e.Path != "" {
		out.Address = e.Path
	}
	switch {
	case e.Draining:
		out.State = "draining"
	case e.Unhealthy:
		out.State = "not ready"
	}
	if e.Workload != nil {
		out.Pod = e.Workload.Name
	}
	switch {
	case s != nil && s.mesh():
		out.TLS = "mesh mutual TLS"
	case s != nil:
		out.TLS = "TLS"
	}
	return out
}

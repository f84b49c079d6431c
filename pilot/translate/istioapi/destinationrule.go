package istioapi

import (
	"maps"
	"net/netip"
	"slices"

	meshapi "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

const (
	// LocalityFields are the fields of a localityLbSetting that are honoured.
	LocalityFields = "localityLbSetting.{enabled,distribute.{from,to},failover.{from,to},failoverPriority}"
	hashFields     = "consistentHash.{httpHeaderName,httpCookie.{name,path,ttl,attributes.{name,value}},useSourceIp,httpQueryParameterName," +
		"minimumRingSize,ringHash.minimumRingSize,maglev.tableSize}"
	// BaselineFields are the fields of the mesh's defaultTrafficPolicy that are honoured: as those of rules.
	BaselineFields = "{" + poolFields + "," + outlierFields + "}"
	poolFields     = "connectionPool." + poolSettings
	poolSettings   = "{tcp.{maxConnections,connectTimeout,idleTimeout,maxConnectionDuration,tcpKeepalive.{probes,time,interval}}," +
		"http.{http1MaxPendingRequests,http2MaxRequests,maxRequestsPerConnection,maxRetries,idleTimeout,h2UpgradePolicy,useClientProtocol,maxConcurrentStreams,http2KeepAlive.{interval,timeout}}}"
	outlierFields = "outlierDetection.{splitExternalLocalOriginErrors,consecutiveLocalOriginFailures,consecutiveGatewayErrors,consecutive5xxErrors,interval," +
		"baseEjectionTime,maxEjectionPercent,minHealthPercent,outlierDetectionHttpErrorCodes}"
	trafficBlocks = "{loadBalancer.{simple," + hashFields + ",warmup.{duration,minimumPercent,aggression},warmupDurationSecs," + LocalityFields + "}," +
		poolFields + "," + outlierFields + "," +
		"tls.{mode,clientCertificate,privateKey,caCertificates,caCrl,credentialName,subjectAltNames,sni,insecureSkipVerify}}"
	trafficPolicy = "trafficPolicy.{" + trafficBlocks + ",retryBudget.{percent,minRetryConcurrency,budgetInterval},proxyProtocol.version,tunnel.{protocol,targetHost,targetPort},portLevelSettings.{port.number," + trafficBlocks + "}}"
)

var destinationRuleFields = fields.New(
	"{host,exportTo}", "workloadSelector.matchLabels", trafficPolicy, "subsets.{name,labels,"+trafficPolicy+"}")

// DestinationRule is a translated DestinationRule before those of one host and namespace are merged. It is immutable.
type DestinationRule struct {
	From     []model.Name
	Parts    []model.RulePart // what each of From brought, where they are several
	Host     string
	Export   model.Visibility
	ExportTo []string // as it is written, sorted
	Selector model.Selector
	Baseline *model.TrafficPolicy // the mesh's, of blocks that are not given; nil: there is none
	Policy   *Policy              // nil: not given
	Subsets  []*Subset
	Closed   bool // it is refused, and nobody is reached where it asks for TLS
}

// Subset is a named part of a host, before it is laid over the host's policy.
type Subset struct {
	Name   string
	Labels model.Selector
	Policy *Policy
}

// Policy is a trafficPolicy: blocks, and other blocks for some ports.
type Policy struct {
	Blocks
	Budget *Budget
	Proxy  *model.ProxyProtocol
	Tunnel model.Tunnel // a subset inherits none
	Ports  map[uint16]Blocks
}

// Blocks are what overrides as a whole. Nil: not given.
type Blocks struct {
	LoadBalancer *model.LoadBalancer
	Pool         *model.ConnectionPool
	Outlier      *model.OutlierDetection
	TLS          *model.ClientTLS
}

// Budget limits retries to a share of the active requests.
type Budget struct {
	Percent  float64
	Minimum  uint32
	Interval model.Duration
}

// ReadDestinationRule translates one object. With errors it is closed where it asks for TLS.
func ReadDestinationRule(o *inputs.DestinationRule, mesh *model.Mesh) (*DestinationRule, []report.Issue) {
	out, issues := read(o, mesh, (*reader).destinationRule)
	if report.HasErrors(issues) {
		out.close(o)
	}
	return out, issues
}

func (r *reader) destinationRule(o *inputs.DestinationRule) *DestinationRule {
	spec := o.Spec
	destinationRuleFields.Check(spec, "spec", &r.Log)
	out := &DestinationRule{From: []model.Name{fields.From(o)}, Baseline: r.Mesh.Baseline}
	if spec.Host == "" {
		r.Errorf("spec.host", "required")
	} else {
		out.Host = r.host("spec.host", spec.Host, true)
	}
	out.Export = values.Export(&r.Log, "spec.exportTo", spec.ExportTo, o.Namespace, r.Mesh.DestinationRuleExport)
	out.ExportTo = slices.Compact(slices.Sorted(slices.Values(spec.ExportTo)))
	if slices.Contains(spec.ExportTo, "~") {
		r.Errorf("spec.exportTo", `"~" is for Services and ServiceEntries`)
	}
	if spec.WorkloadSelector != nil {
		out.Selector = values.Selector(&r.Log, "spec.workloadSelector.matchLabels", spec.WorkloadSelector.MatchLabels)
		for i, to := range spec.ExportTo {
			if to != "." && to != o.Namespace {
				r.Errorf(r.at("spec.exportTo", i), "%q: a rule with a workloadSelector is for its own namespace only", to)
			}
		}
		out.Export, out.ExportTo = model.Visibility{Namespaces: []string{o.Namespace}}, []string{"."}
	}
	out.Policy = r.policy("spec.trafficPolicy", spec.TrafficPolicy)
	out.Subsets = slices.Grow(out.Subsets, len(spec.Subsets))
	for i, s := range spec.Subsets {
		path := r.at("spec.subsets", i)
		if why := values.ValidHost(s.Name, false); why != "" {
			r.Errorf(path+".name", "%q: %s", s.Name, why)
		}
		if slices.ContainsFunc(out.Subsets, func(o *Subset) bool { return o.Name == s.Name }) {
			r.Errorf(path+".name", "%q is there twice", s.Name)
		}
		out.Subsets = append(out.Subsets, &Subset{Name: s.Name, Labels: values.Selector(&r.Log, path+".labels", s.Labels),
			Policy: r.policy(path+".trafficPolicy", s.TrafficPolicy)})
	}
	return out
}

func (r *reader) policy(path string, p *networking.TrafficPolicy) *Policy {
	if p == nil {
		return nil
	}
	out := &Policy{Blocks: Blocks{
		LoadBalancer: r.loadBalancer(path+".loadBalancer", p.LoadBalancer),
		Pool:         r.connectionPool(path+".connectionPool", p.ConnectionPool),
		Outlier:      r.outlier(path+".outlierDetection", p.OutlierDetection),
		TLS:          r.clientTLS(path+".tls", p.Tls),
	}}
	r.inertLocality(path, p)
	if b := p.RetryBudget; b != nil {
		out.Budget = &Budget{Percent: 20, Minimum: 3, Interval: values.DurationOr(&r.Log, path+".retryBudget.budgetInterval", b.BudgetInterval, 0)}
		if b.Percent != nil {
			out.Budget.Percent = r.percent(path+".retryBudget.percent", b.Percent.Value)
		}
		if b.MinRetryConcurrency != 0 {
			out.Budget.Minimum = b.MinRetryConcurrency
		}
	}
	if p.ProxyProtocol != nil {
		out.Proxy = r.proxyProtocol(path+".proxyProtocol.version", p.ProxyProtocol.Version)
	}
	if p.Tunnel != nil {
		if out.Tunnel = r.tunnel(path+".tunnel", p.Tunnel); p.ProxyProtocol != nil {
			r.Errorf(path+".tunnel", "only one of tunnel and proxyProtocol may be given")
		}
	}
	for i, q := range p.PortLevelSettings {
		at := r.at(path+".portLevelSettings", i)
		n := values.Port(&r.Log, at+".port.number", q.GetPort().GetNumber())
		if _, twice := out.Ports[n]; twice {
			r.Errorf(at+".port.number", "%d is there twice", n)
		}
		if out.Ports == nil {
			out.Ports = map[uint16]Blocks{}
		}
		out.Ports[n] = Blocks{
			LoadBalancer: r.loadBalancer(at+".loadBalancer", q.LoadBalancer),
			Pool:         r.connectionPool(at+".connectionPool", q.ConnectionPool),
			Outlier:      r.outlier(at+".outlierDetection", q.OutlierDetection),
			TLS:          r.clientTLS(at+".tls", q.Tls),
		}
	}
	return out
}

func (r *reader) proxyProtocol(path string, v networking.TrafficPolicy_ProxyProtocol_VERSION) *model.ProxyProtocol {
	out := model.ProxyProtocolV1
	switch v {
	case networking.TrafficPolicy_ProxyProtocol_V1:
	case networking.TrafficPolicy_ProxyProtocol_V2:
		out = model.ProxyProtocolV2
	default:
		r.Errorf(path, "%s: V1 or V2 expected", v)
	}
	return &out
}

// tunnel reads where endpoints, which are proxies, are to lead.
func (r *reader) tunnel(path string, t *networking.TrafficPolicy_TunnelSettings) model.Tunnel {
	out := model.Tunnel{Host: t.TargetHost, Port: values.Port(&r.Log, path+".targetPort", t.TargetPort), Post: t.Protocol == "POST"}
	if !slices.Contains([]string{"", "CONNECT", "POST"}, t.Protocol) {
		r.Errorf(path+".protocol", "%q: CONNECT or POST expected", t.Protocol)
	}
	if _, err := netip.ParseAddr(t.TargetHost); err == nil {
		return out
	}
	if why := values.ValidHost(t.TargetHost, false); why != "" {
		r.Errorf(path+".targetHost", "%q: %s", t.TargetHost, why)
	}
	return out
}

// Baseline reads the mesh's defaultTrafficPolicy; a block that is refused is left out. Nil: nothing is given.
func Baseline(log *report.Log, path string, p *meshapi.MeshConfig_DefaultTrafficPolicy) *model.TrafficPolicy {
	var out model.TrafficPolicy
	pools, outliers := &reader{}, &reader{}
	pool := pools.connectionPool(path+".connectionPool", p.GetConnectionPool())
	outlier := outliers.outlier(path+".outlierDetection", p.GetOutlierDetection())
	log.Issues = append(append(log.Issues, pools.Issues...), outliers.Issues...)
	if pool != nil && !pools.Failed() {
		out.ConnectionPool = *pool
	}
	if outlier != nil && !outliers.Failed() {
		out.Outlier = outlier
	}
	if out.Outlier == nil && out.ConnectionPool == (model.ConnectionPool{}) {
		return nil
	}
	return &out
}

// Mergeable reports whether b adds to a: their exportTo says the same, word for word, or b's more.
func (a *DestinationRule) Mergeable(b *DestinationRule) bool {
	if a.Host != b.Host || !maps.Equal(a.Selector, b.Selector) || (a.Selector == nil) != (b.Selector == nil) {
		return false
	}
	if len(a.ExportTo) == 0 || len(b.ExportTo) == 0 {
		return len(a.ExportTo) == len(b.ExportTo)
	}
	return !slices.ContainsFunc(a.ExportTo, func(to string) bool { return !slices.Contains(b.ExportTo, to) })
}

// Merge adds the subsets of the younger b to a, and its policy if a has none.
func (a *DestinationRule) Merge(b *DestinationRule) *DestinationRule {
	out := *a
	out.From = append(slices.Clone(a.From), b.From...)
	out.Parts = append(slices.Clip(slices.Clone(a.parts())), a.addition(b))
	if out.Policy == nil {
		out.Policy = b.Policy
	}
	out.Subsets = slices.Clone(a.Subsets)
	for _, s := range b.Subsets {
		if !out.HasSubset(s.Name) {
			out.Subsets = append(out.Subsets, s)
		}
	}
	return &out
}

// parts are what the objects of a rule brought.
func (a *DestinationRule) parts() []model.RulePart {
	if len(a.Parts) > 0 {
		return a.Parts
	}
	return []model.RulePart{(&DestinationRule{}).addition(a)}
}

// addition is what a younger rule adds to a.
func (a *DestinationRule) addition(b *DestinationRule) model.RulePart {
	part := model.RulePart{From: b.From[0], Policy: a.Policy == nil && b.Policy != nil}
	for _, s := range b.Subsets {
		if !a.HasSubset(s.Name) {
			part.Subsets = append(part.Subsets, s.Name)
		}
	}
	return part
}

// HasSubset reports whether the rule has a subset of a name.
func (a *DestinationRule) HasSubset(name string) bool {
	return slices.ContainsFunc(a.Subsets, func(s *Subset) bool { return s.Name == name })
}

// Complete lays the blocks over each other: subsets over the host, ports instead of both.
func (a *DestinationRule) Complete(clients model.RuleClients) *model.DestinationRule {
	out := &model.DestinationRule{From: a.From, Parts: a.Parts, Host: a.Host, Export: a.Export, Clients: clients, Selector: a.Selector}
	out.Default = a.over(nil, a.Policy)
	out.Subsets = slices.Grow(out.Subsets, len(a.Subsets))
	for _, s := range a.Subsets {
		sub, own := &model.Subset{Name: s.Name, Labels: s.Labels, Policy: out.Default}, s.Policy
		if own == nil && a.Policy != nil && a.Policy.Tunnel != (model.Tunnel{}) {
			own = &Policy{}
		}
		if own != nil {
			sub.Policy = a.over(a.Policy, own)
		}
		out.Subsets = append(out.Subsets, sub)
	}
	return out
}

// over lays a subset's policy over its host's. A port's settings replace those of all ports, and what they leave out has its default.
func (a *DestinationRule) over(base, top *Policy) model.PolicySet {
	if base == nil {
		base = &Policy{}
	}
	if top == nil {
		return model.PolicySet{}
	}
	whole := Policy{Budget: top.Budget, Proxy: top.Proxy, Tunnel: top.Tunnel} // what ports have no settings of their own for
	if whole.Budget == nil {
		whole.Budget = base.Budget
	}
	if whole.Proxy == nil {
		whole.Proxy = base.Proxy
	}
	out := model.PolicySet{All: base.Blocks.under(top.Blocks).resolve(whole, a.Baseline)}
	for n, b := range base.Ports {
		merged := b.under(top.Blocks)
		merged.TLS = portTLS(merged.TLS, base.TLS)
		put(&out, n, merged.resolve(whole, a.Baseline))
	}
	for n, b := range top.Ports {
		b.TLS = portTLS(b.TLS, top.TLS, base.Ports[n].TLS, base.TLS)
		put(&out, n, b.resolve(whole, a.Baseline))
	}
	return out
}

// portTLS is a port's own tls. Settings without tls inherit none, so that connections are secured automatically; yet not against the mode
// of the first policy around them that has one: ISTIO_MUTUAL asks for mutual TLS, every other rules it out.
func portTLS(own *model.ClientTLS, around ...*model.ClientTLS) *model.ClientTLS {
	if own != nil {
		return own
	}
	for _, t := range around {
		switch {
		case t == nil:
		case t.Mode == model.TLSRefused:
			return t
		case t.Mode == model.TLSIstioMutual:
			return &model.ClientTLS{Mode: model.TLSIstioMutual}
		default:
			return &model.ClientTLS{Mode: model.TLSDisable}
		}
	}
	return nil
}

func put(s *model.PolicySet, port uint16, p *model.TrafficPolicy) {
	if s.Ports == nil {
		s.Ports = map[uint16]*model.TrafficPolicy{}
	}
	s.Ports[port] = p
}

// under returns the blocks of top, and b's where top has none.
func (b Blocks) under(top Blocks) Blocks {
	if top.LoadBalancer == nil {
		top.LoadBalancer = b.LoadBalancer
	}
	if top.Pool == nil {
		top.Pool = b.Pool
	}
	if top.Outlier == nil {
		top.Outlier = b.Outlier
	}
	if top.TLS == nil {
		top.TLS = b.TLS
	}
	return top
}

func (b Blocks) resolve(whole Policy, baseline *model.TrafficPolicy) *model.TrafficPolicy {
	out := &model.TrafficPolicy{TLS: b.TLS, Tunnel: whole.Tunnel}
	if baseline != nil {
		out.ConnectionPool, out.Outlier = baseline.ConnectionPool, baseline.Outlier
	}
	if b.Outlier != nil {
		out.Outlier = b.Outlier
	}
	if b.LoadBalancer != nil {
		out.LoadBalancer = *b.LoadBalancer
	}
	if b.Pool != nil {
		out.ConnectionPool = *b.Pool
	}
	if budget := whole.Budget; budget != nil {
		out.ConnectionPool.RetryBudgetPercent, out.ConnectionPool.RetryBudgetMinimum = &budget.Percent, budget.Minimum
		out.ConnectionPool.RetryBudgetInterval = budget.Interval
	}
	if whole.Proxy != nil {
		out.ProxyProtocol = *whole.Proxy
	}
	return out
}

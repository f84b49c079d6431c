package istioapi

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// Sizes of tables: where none is given, and the largest, as in Envoy.
const (
	ringSize    = 1024
	ringLimit   = 8 << 20
	maglevSize  = 65_537
	maglevLimit = 5_000_011
)

func (r *reader) loadBalancer(path string, l *networking.LoadBalancerSettings) *model.LoadBalancer {
	if l == nil {
		return nil
	}
	out := &model.LoadBalancer{
		Algorithm: r.simple(path+".simple", l.GetSimple()),
		Locality:  Locality(&r.Log, path+".localityLbSetting", l.LocalityLbSetting),
	}
	if h := l.GetConsistentHash(); h != nil {
		r.consistentHash(path+".consistentHash", h, out)
	}
	out.Warmup = r.warmup(path, l)
	if out.Warmup != nil && out.Algorithm != model.LeastRequest && out.Algorithm != model.RoundRobin {
		r.Warnf(path+".warmup", "without effect: only ROUND_ROBIN and LEAST_REQUEST warm endpoints up")
		out.Warmup = nil
	}
	return out
}

// warmup reads how new endpoints take on traffic; nil: at once. The older field is the duration alone.
func (r *reader) warmup(path string, l *networking.LoadBalancerSettings) *model.Warmup {
	out := &model.Warmup{MinimumPercent: 10, Aggression: 1}
	//lint:ignore SA1019 people still write it
	older := l.WarmupDurationSecs
	switch w := l.Warmup; {
	case w != nil:
		if older != nil {
			r.Errorf(path+".warmupDurationSecs", "given beside warmup, which replaces it")
		}
		path += ".warmup"
		if out.Duration = values.DurationOr(&r.Log, path+".duration", w.Duration, 0); out.Duration == 0 {
			r.Errorf(path+".duration", "required")
		}
		if w.MinimumPercent != nil {
			out.MinimumPercent = r.percent(path+".minimumPercent", w.MinimumPercent.Value)
		}
		if w.Aggression != nil {
			if out.Aggression = w.Aggression.Value; !(out.Aggression >= 1) {
				r.Errorf(path+".aggression", "%v: at least 1 expected", out.Aggression)
			}
		}
	case older != nil:
		if out.Duration = values.DurationOr(&r.Log, path+".warmupDurationSecs", older, 0); out.Duration == 0 {
			return nil
		}
	default:
		return nil
	}
	return out
}

func (r *reader) simple(path string, s networking.LoadBalancerSettings_SimpleLB) model.Balancer {
	switch s {
	case networking.LoadBalancerSettings_UNSPECIFIED, networking.LoadBalancerSettings_LEAST_REQUEST:
		return model.LeastRequest
	//lint:ignore SA1019 people still write it
	case networking.LoadBalancerSettings_LEAST_CONN:
		return model.LeastRequest
	case networking.LoadBalancerSettings_ROUND_ROBIN:
		return model.RoundRobin
	case networking.LoadBalancerSettings_RANDOM:
		return model.Random
	case networking.LoadBalancerSettings_PASSTHROUGH:
		return model.Passthrough
	}
	r.Errorf(path, "%d: not implemented by this version", s)
	return model.LeastRequest
}

// consistentHash reads what keeps requests that are alike at one endpoint, and the table behind it.
func (r *reader) consistentHash(path string, h *networking.LoadBalancerSettings_ConsistentHashLB, out *model.LoadBalancer) {
	//lint:ignore SA1019 people still write it
	older := h.MinimumRingSize
	out.Algorithm, out.TableSize = model.RingHash, ringSize
	switch a := h.HashAlgorithm.(type) {
	case *networking.LoadBalancerSettings_ConsistentHashLB_RingHash_:
		if n := a.RingHash.GetMinimumRingSize(); n != 0 {
			out.TableSize = n
		}
	case *networking.LoadBalancerSettings_ConsistentHashLB_Maglev:
		out.Algorithm, out.TableSize = model.Maglev, maglevSize
		if n := a.Maglev.GetTableSize(); n != 0 {
			out.TableSize = n
		}
		if out.TableSize >= maglevLimit || !prime(out.TableSize) {
			r.Errorf(path+".maglev.tableSize", "%d: a prime below %d expected", out.TableSize, maglevLimit)
		}
	default:
		if older != 0 {
			out.TableSize = older
		}
	}
	if older != 0 && h.HashAlgorithm != nil {
		r.Errorf(path+".minimumRingSize", "given beside ringHash or maglev, which replace it")
	}
	if out.Algorithm == model.RingHash && out.TableSize > ringLimit {
		field := path + ".ringHash.minimumRingSize"
		if older != 0 {
			field = path + ".minimumRingSize"
		}
		r.Errorf(field, "%d is more than %d", out.TableSize, ringLimit)
	}
	if out.Hash = r.hashKey(path, h); out.Hash == nil {
		r.Warnf(path, "without a key each request goes to an endpoint at random")
	}
}

// hashKey reads what requests have in common; nil: nothing.
func (r *reader) hashKey(path string, h *networking.LoadBalancerSettings_ConsistentHashLB) *model.HashKey {
	switch k := h.HashKey.(type) {
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		if r.headerName(path+".httpHeaderName", k.HttpHeaderName); k.HttpHeaderName == "" {
			r.Errorf(path+".httpHeaderName", "required")
		}
		return &model.HashKey{Header: strings.ToLower(k.HttpHeaderName)}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpQueryParameterName:
		if k.HttpQueryParameterName == "" {
			r.Errorf(path+".httpQueryParameterName", "required")
		}
		return &model.HashKey{Query: k.HttpQueryParameterName}
	case *networking.LoadBalancerSettings_ConsistentHashLB_UseSourceIp:
		if k.UseSourceIp {
			return &model.HashKey{SourceIP: true}
		}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		return &model.HashKey{Cookie: r.hashCookie(path+".httpCookie", k.HttpCookie)}
	}
	return nil
}

func (r *reader) hashCookie(path string, c *networking.LoadBalancerSettings_ConsistentHashLB_HTTPCookie) *model.HashCookie {
	out := &model.HashCookie{Name: c.GetName(), Path: c.GetPath(), TTL: values.Duration(&r.Log, path+".ttl", c.GetTtl())}
	name := func(path, value string) {
		if value == "" || strings.ContainsAny(value, " \t\r\n;,=\"") {
			r.Errorf(path, "%q: the name of a cookie or of its attribute expected", value)
		}
	}
	name(path+".name", out.Name)
	r.cookieText(path+".path", out.Path)
	for i, a := range c.GetAttributes() {
		name(r.at(path+".attributes", i)+".name", a.GetName())
		r.cookieText(r.at(path+".attributes", i)+".value", a.GetValue())
		out.Attributes = append(out.Attributes, model.CookieAttribute{Name: a.GetName(), Value: a.GetValue()})
	}
	return out
}

// cookieText checks what stands in a set-cookie header (RFC 6265, section 4.1.1): it must not end the attribute, or the line.
func (r *reader) cookieText(path, value string) {
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f || c == ';' }) {
		r.Errorf(path, "%q: control characters and semicolons are not possible in a cookie", value)
	}
}

func prime(n uint64) bool {
	for d := uint64(2); d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

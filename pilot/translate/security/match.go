package security

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	security "istio.io/api/security/v1beta1"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// maxAccounts is how many service accounts a source may name, as in Istio.
const maxAccounts = 16

func isEmpty(m protoreflect.Message) bool {
	empty := true
	m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { empty = false; return false })
	return empty
}

// not is the path of the twin of a field: notHosts for hosts.
func not(path string) string {
	dot := strings.LastIndexByte(path, '.') + 1
	return path[:dot] + "not" + strings.ToUpper(path[dot:dot+1]) + path[dot+1:]
}

// pattern reads abc, abc*, *abc and *.
func (r *reader) pattern(path, s string) model.StringMatch {
	switch {
	case s == "":
		r.Errorf(path, "empty value")
	case s == "*":
		return model.StringMatch{Kind: model.MatchNonEmpty}
	case strings.HasPrefix(s, "*"):
		return model.StringMatch{Kind: model.MatchSuffix, Value: s[1:]}
	case strings.HasSuffix(s, "*"):
		return model.StringMatch{Kind: model.MatchPrefix, Value: s[:len(s)-1]}
	}
	return model.StringMatch{Kind: model.MatchExact, Value: s}
}

func (r *reader) patterns(path string, list []string) []model.StringMatch {
	var out []model.StringMatch
	for i, s := range list {
		out = append(out, r.pattern(fields.At(path, i), s))
	}
	return out
}

func (r *reader) values(path string, list, nots []string) model.Values {
	return model.Values{Any: r.patterns(path, list), None: r.patterns(not(path), nots)}
}

// namespaces are patterns in which * may stand anywhere, and more than once.
func (r *reader) namespaces(path string, list, nots []string) model.Values {
	out := r.values(path, list, nots)
	for i := range out.Any {
		out.Any[i] = wildcards(out.Any[i], list[i])
	}
	for i := range out.None {
		out.None[i] = wildcards(out.None[i], nots[i])
	}
	return out
}

// wildcards is m, or an expression where s, of which it was read, has more wildcards than that.
func wildcards(m model.StringMatch, s string) model.StringMatch {
	if !strings.Contains(m.Value, "*") {
		return m
	}
	return model.StringMatch{Kind: model.MatchRegex, Value: strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, ".*")}
}

func ignoreCase(v model.Values) model.Values {
	for _, list := range [][]model.StringMatch{v.Any, v.None} {
		for i := range list {
			list[i].IgnoreCase = true
		}
	}
	return v
}

// principals also stand for the mesh's other trust domains: "cluster.local", the trust domain and its aliases mean the same.
func (r *reader) principals(path string, list, nots []string) model.Values {
	for _, p := range append(slices.Clone(list), nots...) {
		if strings.HasPrefix(p, "spiffe://") {
			r.Errorf(path, "%q: principals are written without spiffe://", p)
		}
	}
	return r.values(path, r.everyPrincipal(list), r.everyPrincipal(nots))
}

// meshDomains are the mesh's own trust domain and its aliases.
func (r *reader) meshDomains() []string {
	return append([]string{r.Mesh.TrustDomain}, r.Mesh.TrustDomainAliases...)
}

// everyPrincipal names principals of the mesh in each of its trust domains; one whose pattern covers a domain already stays as it is.
func (r *reader) everyPrincipal(list []string) []string {
	ours := r.meshDomains()
	out := make([]string, 0, len(list))
	for _, p := range list {
		domain, rest, _ := strings.Cut(p, "/")
		if !isOurs(p, domain, ours) {
			out = append(out, p)
			continue
		}
		for _, own := range ours {
			q := own + "/" + rest
			if end, ok := strings.CutPrefix(domain, "*"); ok && strings.HasSuffix(own, end) {
				q = p
			}
			if !slices.Contains(out, q) {
				out = append(out, q)
			}
		}
	}
	return out
}

// isOurs says whether a principal, TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, means one of the mesh's trust domains. "*" means any, and needs no other names.
func isOurs(principal, domain string, ours []string) bool {
	if strings.Count(principal, "/") != 4 || domain == "*" {
		return false
	}
	return domain == wire.DefaultTrustDomain || slices.ContainsFunc(ours, func(own string) bool { return covers(domain, own) })
}

// covers says whether a pattern, abc, abc* or *abc, stands for a trust domain.
func covers(pattern, domain string) bool {
	if start, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(domain, start) {
		return true
	}
	end, ok := strings.CutPrefix(pattern, "*")
	return pattern == domain || ok && strings.HasSuffix(domain, end)
}

// trustDomains may be the mesh's: each of those means all of them.
func (r *reader) trustDomains(path string, list, nots []string) model.Values {
	r.oneWildcard(path, list)
	r.oneWildcard(not(path), nots)
	return r.values(path, r.everyDomain(list), r.everyDomain(nots))
}

// oneWildcard refuses a * that is not the first or last character, or not the only one.
func (r *reader) oneWildcard(path string, list []string) {
	for i, s := range list {
		if n := strings.Count(s, "*"); n > 1 || n == 1 && !strings.HasPrefix(s, "*") && !strings.HasSuffix(s, "*") {
			r.Errorf(fields.At(path, i), "%q: at most one *, and that first or last", s)
		}
	}
}

// withoutPath refuses more than a trust domain.
func (r *reader) withoutPath(path string, list []string) {
	for i, s := range list {
		if strings.Contains(s, "/") {
			r.Errorf(fields.At(path, i), "%q: a trust domain has no /", s)
		}
	}
}

func (r *reader) everyDomain(list []string) []string {
	ours := r.meshDomains()
	var out []string
	for _, domain := range list {
		same := []string{domain}
		if slices.Contains(ours, domain) {
			same = ours
		}
		for _, d := range same {
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// accounts are "account" of the policy's namespace or "namespace/account".
func (r *reader) accounts(path string, list, nots []string) model.Values {
	read := func(path string, list []string) []model.StringMatch {
		var out []model.StringMatch
		if len(list) > maxAccounts {
			r.Errorf(path, "%d accounts: at most %d", len(list), maxAccounts)
		}
		for i, s := range list {
			namespace, account, ok := strings.Cut(s, "/")
			if !ok {
				namespace, account = r.Namespace, s
			}
			if namespace == "" || account == "" || strings.ContainsAny(s, "*") || strings.Contains(account, "/") {
				r.Errorf(fields.At(path, i), `%q: "account" or "namespace/account" expected`, s)
			}
			out = append(out, model.StringMatch{Value: namespace + "/" + account})
		}
		return out
	}
	return model.Values{Any: read(path, list), None: read(not(path), nots)}
}

func (r *reader) cidrs(path string, list, nots []string) model.CIDRs {
	return model.CIDRs{Any: r.blocks(path, list), None: r.blocks(not(path), nots)}
}

func (r *reader) blocks(path string, list []string) []string {
	var out []string
	for i, s := range list {
		block, ok := values.CIDR(s)
		if _, err := netip.ParsePrefix(block); !ok || err != nil {
			r.Errorf(fields.At(path, i), "%q is not an address or a block of addresses", s)
			continue
		}
		out = append(out, block)
	}
	return out
}

func (r *reader) ports(path string, list []string) []uint16 {
	var out []uint16
	for i, s := range list {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			r.Errorf(fields.At(path, i), "%q is not a port", s)
		}
		out = append(out, uint16(n))
	}
	return out
}

// paths may be templates: {*} stands for one segment, {**} for any number of them, and once only.
func (r *reader) paths(path string, list, nots []string) model.Values {
	read := func(path string, list []string) []model.StringMatch {
		var out []model.StringMatch
		for i, s := range list {
			at := fields.At(path, i)
			if !strings.Contains(s, "{*}") && !strings.Contains(s, "{**}") {
				out = append(out, r.pattern(at, s))
				continue
			}
			r.template(at, s)
			out = append(out, model.StringMatch{Kind: model.MatchTemplate, Value: s})
		}
		return out
	}
	return model.Values{Any: read(path, list), None: read(not(path), nots)}
}

func (r *reader) template(path, s string) {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		r.Errorf(path, "%q: a template begins with /", s)
	}
	open := false
	for segment := range strings.SplitSeq(rest, "/") {
		switch {
		case segment == "{**}" && open, segment == "{*}" && open:
			r.Errorf(path, "%q: {**} must be the last operator", s)
		case segment == "{**}":
			open = true
		case segment == "{*}":
		case strings.ContainsAny(segment, "{}*"):
			r.Errorf(path, "%q: {*} and {**} are whole segments, and nothing else is special", s)
		}
	}
}

// condition reads one "when".
func (r *reader) condition(path string, w *security.Condition) *model.RuleCondition {
	out := &model.RuleCondition{}
	if len(w.GetValues())+len(w.GetNotValues()) == 0 {
		r.Errorf(path, "values or notValues must be given")
	}
	list, nots := w.GetValues(), w.GetNotValues()
	at := path + ".values"
	if header, ok := strings.CutPrefix(w.GetKey(), "request.headers["); ok && strings.HasSuffix(header, "]") && len(header) > 1 {
		out.Key, out.Header = model.ConditionHeader, strings.ToLower(strings.TrimSuffix(header, "]"))
		out.Values = r.values(at, list, nots)
		return out
	}
	if strings.HasPrefix(w.GetKey(), metadataKey) {
		out.Key = model.ConditionMetadata
		r.metadata(path, w)
		return out
	}
	switch w.GetKey() {
	case "source.ip":
		out.Key, out.CIDRs = model.ConditionSourceIP, r.cidrs(at, list, nots)
	case "remote.ip":
		out.Key, out.CIDRs = model.ConditionRemoteIP, r.cidrs(at, list, nots)
	case "destination.ip":
		out.Key, out.CIDRs = model.ConditionDestinationIP, r.cidrs(at, list, nots)
	case "destination.port":
		out.Key, out.Ports, out.NotPorts = model.ConditionDestinationPort, r.ports(at, list), r.ports(not(at), nots)
	case "source.namespace":
		out.Key, out.Values = model.ConditionNamespace, r.namespaces(at, list, nots)
	case "source.serviceAccount":
		out.Key, out.Values = model.ConditionServiceAccount, r.accounts(at, list, nots)
	case "source.trustDomain":
		out.Key, out.Values = model.ConditionTrustDomain, r.trustDomains(at, list, nots)
	case "source.principal":
		out.Key, out.Values = model.ConditionPrincipal, r.principals(at, list, nots)
	case "connection.sni":
		out.Key, out.Values = model.ConditionSNI, r.values(at, list, nots)
	default:
		r.Errorf(path+".key", "%q: not implemented by this version", w.GetKey())
	}
	return out
}

// metadataKey begins the keys of what Envoy's filters found out.
const metadataKey = "experimental.envoy.filters."

// metadata checks a condition on what a filter found out: "experimental.envoy.filters.name[key]", a value in brackets being an item of a list.
func (r *reader) metadata(path string, w *security.Condition) {
	if name, key, ok := strings.Cut(strings.TrimPrefix(w.GetKey(), metadataKey), "["); !ok || name == "" || len(key) < 2 || !strings.HasSuffix(key, "]") {
		r.Errorf(path+".key", "%q: a filter and in brackets its key expected", w.GetKey())
	}
	items := func(list []string) []string {
		var out []string
		for _, v := range list {
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(v, "["), "]"))
		}
		return out
	}
	r.values(path+".values", items(w.GetValues()), items(w.GetNotValues()))
	r.Warnf(path+".key", "no filter of the proxies of this version says anything under it: with ALLOW the rule matches nobody, with DENY it matches without this condition")
}

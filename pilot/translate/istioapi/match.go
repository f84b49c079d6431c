package istioapi

import (
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

func (r *reader) httpMatch(path string, m *networking.HTTPMatchRequest) *model.HTTPMatch {
	out := &model.HTTPMatch{
		Name: m.Name, StatPrefix: m.StatPrefix,
		Path:      r.pathMatch(path+".uri", m.Uri),
		Method:    r.stringMatch(path+".method", m.Method),
		Scheme:    r.stringMatch(path+".scheme", m.Scheme),
		Authority: r.stringMatch(path+".authority", m.Authority),
		Source:    r.source(path, m.SourceLabels, m.SourceNamespace),
	}
	if out.Path != nil && out.Path.Kind != model.MatchRegex {
		out.Path.IgnoreCase = m.IgnoreUriCase
	}
	out.Headers = append(r.keyMatches(path+".headers", m.Headers, true, false), r.keyMatches(path+".withoutHeaders", m.WithoutHeaders, true, true)...)
	slices.SortStableFunc(out.Headers, func(a, b model.KeyMatch) int { return strings.Compare(a.Key, b.Key) })
	out.Query = r.keyMatches(path+".queryParams", m.QueryParams, false, false)
	if m.Port != 0 {
		out.Port = values.Port(&r.Log, path+".port", m.Port)
	}
	if len(m.Gateways) > 0 {
		out.Gateways = r.gateways(path+".gateways", m.Gateways)
		r.clientsThroughGateways(path, m)
	}
	return out
}

// clientsThroughGateways warns of conditions on clients that are not asked where a match names gateways.
func (r *reader) clientsThroughGateways(path string, m *networking.HTTPMatchRequest) {
	const why = "not asked: a match that names gateways is for all clients that come through them"
	if len(m.SourceLabels) > 0 {
		r.Warnf(path+".sourceLabels", why)
	}
	if m.SourceNamespace != "" {
		r.Warnf(path+".sourceNamespace", why)
	}
}

// pathMatch is stringMatch for paths, all of which begin with nothing.
func (r *reader) pathMatch(path string, m *networking.StringMatch) *model.StringMatch {
	if p, ok := m.GetMatchType().(*networking.StringMatch_Prefix); ok && p.Prefix == "" {
		return &model.StringMatch{Kind: model.MatchPrefix}
	}
	return r.stringMatch(path, m)
}

// stringMatch reads a matcher of something that every request has.
func (r *reader) stringMatch(path string, m *networking.StringMatch) *model.StringMatch {
	if m == nil {
		return nil
	}
	out := r.matcher(path, m)
	if out.Kind == model.MatchPresent {
		return nil
	}
	if out.Value == "" {
		r.Errorf(path, "an empty value matches nothing")
	}
	return &out
}

// matcher reads a matcher. An empty one, and the expression "*", ask for presence.
func (r *reader) matcher(path string, m *networking.StringMatch) model.StringMatch {
	switch t := m.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return model.StringMatch{Kind: model.MatchExact, Value: t.Exact}
	case *networking.StringMatch_Prefix:
		return model.StringMatch{Kind: model.MatchPrefix, Value: t.Prefix}
	case *networking.StringMatch_Regex:
		if t.Regex == "*" {
			return model.StringMatch{Kind: model.MatchPresent}
		}
		values.FullRegex(&r.Log, path+".regex", t.Regex)
		return model.StringMatch{Kind: model.MatchRegex, Value: t.Regex}
	}
	return model.StringMatch{Kind: model.MatchPresent}
}

func (r *reader) keyMatches(path string, all map[string]*networking.StringMatch, header, invert bool) []model.KeyMatch {
	if len(all) == 0 {
		return nil
	}
	out := make([]model.KeyMatch, 0, len(all))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		p := path + "[" + key + "]"
		if header {
			switch key {
			case "uri", "scheme", "method", "authority":
				r.Warnf(p, "ignored: %s is matched by a field of its own", key)
				continue
			}
			if strings.HasPrefix(key, "@request.auth.claims") {
				r.Errorf(p, "not implemented by this version")
				continue
			}
		}
		m := model.KeyMatch{Key: key, Match: r.matcher(p, all[key]), Invert: invert}
		if header {
			m.Key = strings.ToLower(key)
			r.headerName(p, m.Key)
		}
		if m.Key == "" {
			r.Errorf(p, "empty name")
		}
		out = append(out, m)
	}
	return out
}

// headerName records a name that no header can have.
func (r *reader) headerName(path, name string) {
	if !values.HeaderName(name) {
		r.Errorf(path, "%q is not a header name", name)
	}
}

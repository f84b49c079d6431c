package istioapi

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// maxDirectBody is the largest body of a direct response, as Istio's.
const maxDirectBody = 1 << 20

// httpRoute reads one rule. The second result is not nil where another VirtualService takes the rule's place.
func (r *reader) httpRoute(path string, h *networking.HTTPRoute) (*model.HTTPRoute, *model.Name) {
	out := &model.HTTPRoute{Name: h.Name, Matches: slices.Grow([]*model.HTTPMatch(nil), len(h.Match))}
	for i, m := range h.Match {
		out.Matches = append(out.Matches, r.httpMatch(r.at(path+".match", i), m))
	}
	out.Timeout = values.Duration(&r.Log, path+".timeout", h.Timeout)
	if h.Retries != nil {
		out.Retry = Retry(&r.Log, path+".retries", h.Retries)
	}
	out.Fault = r.fault(path+".fault", h.Fault)
	out.CORS = r.cors(path+".corsPolicy", h.CorsPolicy)
	out.Headers = r.headers(path+".headers", h.Headers)
	out.Rewrite = r.rewrite(path+".rewrite", h.Rewrite)
	delegate := r.action(path, h, out)
	return out, delegate
}

// action reads what the rule does, of which there must be exactly one thing.
func (r *reader) action(path string, h *networking.HTTPRoute, out *model.HTTPRoute) *model.Name {
	var delegate *model.Name
	actions := 0
	if len(h.Route) > 0 {
		actions++
		out.Destinations = r.httpDestinations(path+".route", h.Route)
	}
	if h.Redirect != nil {
		actions++
		out.Redirect = r.redirect(path+".redirect", h.Redirect)
	}
	if h.DirectResponse != nil {
		actions++
		out.Direct = r.direct(path+".directResponse", h.DirectResponse)
	}
	if h.Delegate != nil {
		actions++
		delegate = &model.Name{Namespace: h.Delegate.Namespace, Name: h.Delegate.Name}
		if delegate.Namespace == "" {
			delegate.Namespace = r.Namespace
		}
		if delegate.Name == "" {
			r.Errorf(path+".delegate.name", "required")
		}
	}
	if actions != 1 {
		r.Errorf(path, "exactly one of route, redirect, directResponse and delegate must be given")
	}
	if h.Rewrite != nil && (h.Redirect != nil || h.DirectResponse != nil) {
		r.Errorf(path+".rewrite", "only requests that are routed can be rewritten")
	}
	return delegate
}

func (r *reader) httpDestinations(path string, routes []*networking.HTTPRouteDestination) []*model.Destination {
	all, weights := make([]*model.Destination, 0, len(routes)), make([]int32, 0, len(routes))
	for i, d := range routes {
		dest := r.destination(r.at(path, i)+".destination", d.Destination)
		dest.Headers = r.headers(r.at(path, i)+".headers", d.Headers)
		all, weights = append(all, dest), append(weights, d.Weight)
	}
	return r.weigh(path, all, weights)
}

func (r *reader) direct(path string, d *networking.HTTPDirectResponse) *model.DirectResponse {
	out := &model.DirectResponse{Status: d.Status}
	if d.Status < 200 || d.Status > 599 {
		r.Errorf(path+".status", "%d: a status between 200 and 599 expected", d.Status)
	}
	switch b := d.GetBody().GetSpecifier().(type) {
	case *networking.HTTPBody_String_:
		out.Body = []byte(b.String_)
	case *networking.HTTPBody_Bytes:
		out.Body = b.Bytes
	}
	if len(out.Body) > maxDirectBody {
		r.Errorf(path+".body", "%d bytes: at most %d", len(out.Body), maxDirectBody)
	}
	return out
}

func (r *reader) rewrite(path string, w *networking.HTTPRewrite) *model.Rewrite {
	if w == nil {
		return nil
	}
	out := &model.Rewrite{URI: w.Uri, HasURI: w.Uri != "", Authority: w.Authority}
	r.oneLine(path+".uri", w.Uri)
	r.oneLine(path+".authority", w.Authority)
	if x := w.UriRegexRewrite; x != nil {
		if w.Uri != "" {
			r.Errorf(path, "only one of uri and uriRegexRewrite may be given")
		}
		values.Regex(&r.Log, path+".uriRegexRewrite.match", x.Match)
		out.Regex, out.Replace = x.Match, x.Rewrite
		r.substitution(path+".uriRegexRewrite.rewrite", x)
	}
	if *out == (model.Rewrite{}) {
		r.Errorf(path, "uri, uriRegexRewrite or authority must be given")
	}
	return out
}

func (r *reader) percent(path string, v float64) float64 {
	if !(v >= 0 && v <= 100) {
		r.Errorf(path, "%v: a percentage between 0 and 100 expected", v)
		return 0
	}
	return v
}

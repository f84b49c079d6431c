package istioapi

import (
	"math"
	"time"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

func (r *reader) cors(path string, c *networking.CorsPolicy) *model.CORS {
	if c == nil {
		return nil
	}
	out := &model.CORS{
		AllowMethods:     c.AllowMethods,
		AllowHeaders:     c.AllowHeaders,
		ExposeHeaders:    c.ExposeHeaders,
		MaxAge:           values.Duration(&r.Log, path+".maxAge", c.MaxAge),
		ForwardUnmatched: true,
	}
	if out.MaxAge != nil && *out.MaxAge/time.Second > math.MaxInt32 {
		r.Errorf(path+".maxAge", "%s: at most %ds expected", *out.MaxAge, math.MaxInt32)
	}
	switch c.UnmatchedPreflights {
	case networking.CorsPolicy_UNSPECIFIED, networking.CorsPolicy_FORWARD:
	case networking.CorsPolicy_IGNORE:
		out.ForwardUnmatched = false
	default:
		r.Errorf(path+".unmatchedPreflights", "%d is unknown", c.UnmatchedPreflights)
	}
	if c.AllowCredentials != nil {
		out.AllowCredentials = &c.AllowCredentials.Value
	}
	for i, o := range c.AllowOrigins {
		m := r.matcher(r.at(path+".allowOrigins", i), o)
		if m.Kind == model.MatchPresent || m.Value == "" {
			r.Errorf(r.at(path+".allowOrigins", i), "exact, prefix or regex must be given")
		}
		out.AllowOrigins = append(out.AllowOrigins, m)
	}
	//lint:ignore SA1019 people still write it
	older := c.GetAllowOrigin()
	for i, o := range older {
		if o == "" {
			r.Errorf(r.at(path+".allowOrigin", i), "empty: an origin or * expected")
		}
		if len(c.AllowOrigins) == 0 {
			out.AllowOrigins = append(out.AllowOrigins, model.StringMatch{Value: o})
		}
	}
	if len(older) > 0 && len(c.AllowOrigins) > 0 {
		r.Warnf(path+".allowOrigin", "without effect: allowOrigins is given")
	}
	return out
}

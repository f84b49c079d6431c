package routes

import (
	"strconv"
	"strings"
	"time"

	corsfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/pilot/generate/message"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// corsConfig is a route's cross-origin policy.
func corsConfig(c *model.CORS) *corsfilter.CorsPolicy {
	out := &corsfilter.CorsPolicy{
		AllowMethods: strings.Join(c.AllowMethods, ","), AllowHeaders: strings.Join(c.AllowHeaders, ","),
		ExposeHeaders:                strings.Join(c.ExposeHeaders, ","),
		ForwardNotMatchingPreflights: wrapperspb.Bool(c.ForwardUnmatched),
	}
	for _, origin := range c.AllowOrigins {
		out.AllowOriginStringMatch = append(out.AllowOriginStringMatch, message.String(origin))
	}
	if c.MaxAge != nil {
		out.MaxAge = strconv.FormatInt(int64(*c.MaxAge/time.Second), 10)
	}
	if c.AllowCredentials != nil {
		out.AllowCredentials = wrapperspb.Bool(*c.AllowCredentials)
	}
	return out
}

// Package cors answers preflight requests and adds the CORS fields to responses. It must not authorise anything: browsers
// enforce what it says, other clients ignore it.
package cors

import (
	"cmp"
	"fmt"
	"regexp"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/filter"
)

// Origin matches an Origin field: exactly one of its parts is set.
type Origin struct {
	Exact, Prefix, Regex string
}

// Config is a CORS policy.
type Config struct {
	Origins     []Origin
	Methods     string // access-control-allow-methods
	Headers     string // access-control-allow-headers
	Expose      string // access-control-expose-headers
	MaxAge      string // seconds; empty: not told
	Credentials *bool  // nil: no
	Forward     *bool  // forward preflights of other origins; no: answer them here, without CORS fields. nil: yes
}

// Filter applies a policy.
type Filter struct {
	c       Config
	origins []func(exchange.View) bool
}

// New compiles c. A Filter without origins does nothing.
func New(c Config) (*Filter, error) {
	f := &Filter{c: c}
	for i, o := range c.Origins {
		m, err := compile(o)
		if err != nil {
			return nil, fmt.Errorf("origins[%d]: %w", i, err)
		}
		f.origins = append(f.origins, m)
	}
	return f, nil
}

// Inherit takes each field that the policy leaves out from the one of the level around it.
func (f *Filter) Inherit(outer filter.HTTP) filter.HTTP {
	o, ok := outer.(*Filter)
	if !ok {
		return f
	}
	out := *f
	c := &out.c
	c.Methods, c.Headers = cmp.Or(c.Methods, o.c.Methods), cmp.Or(c.Headers, o.c.Headers)
	c.Expose, c.MaxAge = cmp.Or(c.Expose, o.c.Expose), cmp.Or(c.MaxAge, o.c.MaxAge)
	c.Credentials, c.Forward = cmp.Or(c.Credentials, o.c.Credentials), cmp.Or(c.Forward, o.c.Forward)
	if len(out.origins) == 0 {
		out.origins = o.origins
	}
	return &out
}

func compile(o Origin) (func(exchange.View) bool, error) {
	switch {
	case o.Regex != "":
		if _, err := regexp.Compile(o.Regex); err != nil { // "a)|(b" would fit into the group below
			return nil, fmt.Errorf("regex: %w", err)
		}
		re, err := regexp.Compile(`\A(?:` + o.Regex + `)\z`)
		if err != nil {
			return nil, fmt.Errorf("regex: %w", err)
		}
		return func(v exchange.View) bool { return re.Match(v) }, nil
	case o.Prefix != "":
		return func(v exchange.View) bool { return v.HasPrefix(o.Prefix) }, nil
	case o.Exact == "*":
		return func(exchange.View) bool { return true }, nil
	case o.Exact != "":
		return func(v exchange.View) bool { return v.Is(o.Exact) }, nil
	}
	return nil, fmt.Errorf("empty")
}

// allowed returns the request's origin, where the policy allows it, else nil. Several Origin fields are one with commas (RFC 9110, 5.3), which is no origin.
func (f *Filter) allowed(x *exchange.Exchange) exchange.View {
	origin := x.Request.Get("origin")
	if len(origin) == 0 || x.Request.Count("origin") > 1 {
		return nil
	}
	for _, m := range f.origins {
		if m(origin) {
			return origin
		}
	}
	return nil
}

// Request answers preflights.
func (f *Filter) Request(x *exchange.Exchange) exchange.Outcome {
	if !preflight(x) || len(f.origins) == 0 {
		return exchange.OK
	}
	if f.allowed(x) == nil {
		if f.c.Forward != nil && !*f.c.Forward {
			return answer(x)
		}
		return exchange.OK
	}
	h := &x.Response
	allow(h, "access-control-allow-methods", f.c.Methods, x.Request.Get(asked))
	allow(h, "access-control-allow-headers", f.c.Headers, x.Request.Joined(askedHeaders))
	set(h, "access-control-max-age", f.c.MaxAge)
	return answer(x)
}

func answer(x *exchange.Exchange) exchange.Outcome {
	x.Reply.Status, x.Details = 200, "cors_response"
	return exchange.LocalReply
}

// asked and askedHeaders are the fields in which a preflight says what is to be asked.
const (
	asked        = "access-control-request-method"
	askedHeaders = "access-control-request-headers"
)

// allow says what is allowed; where that is all, what was asked for: "*" does not cover Authorization, and means nothing where there are credentials
// (Fetch, 3.3.3).
func allow(h *exchange.Head, name, allowed string, asked exchange.View) {
	if allowed == "*" {
		h.SetView(name, asked)
	} else {
		set(h, name, allowed)
	}
}

func preflight(x *exchange.Exchange) bool {
	return x.Request.Method.Is("OPTIONS") && x.Request.Has("origin") && len(x.Request.Get(asked)) > 0
}

// Response says who may read it.
func (f *Filter) Response(x *exchange.Exchange) {
	origin := f.allowed(x)
	if origin == nil {
		return
	}
	h := &x.Response
	h.SetView("access-control-allow-origin", origin)
	if f.c.Credentials != nil && *f.c.Credentials {
		h.Set("access-control-allow-credentials", "true")
	}
	set(h, "access-control-expose-headers", f.c.Expose)
}

func set(h *exchange.Head, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

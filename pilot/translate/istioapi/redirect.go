package istioapi

import (
	"regexp"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// prefixToken at the start of a redirect's uri makes it replace the matched prefix only.
const prefixToken = "%PREFIX()%"

func (r *reader) redirect(path string, d *networking.HTTPRedirect) *model.Redirect {
	out := &model.Redirect{Code: d.RedirectCode, Scheme: d.Scheme, Host: d.Authority, Path: d.Uri}
	r.oneLine(path+".uri", d.Uri)
	r.oneLine(path+".authority", d.Authority)
	r.oneLine(path+".prefixRewrite", d.PrefixRewrite)
	if d.Uri == "" && d.PrefixRewrite == "" && d.Authority == "" && d.Scheme == "" && d.RedirectPort == nil {
		r.Errorf(path, "uri, prefixRewrite, authority, scheme, port or derivePort must be given: it leads nowhere else")
	}
	if d.Scheme != "" && d.Scheme != "http" && d.Scheme != "https" {
		r.Errorf(path+".scheme", "%q: http or https expected", d.Scheme)
	}
	switch d.RedirectCode {
	case 0:
		out.Code = 301
	case 301, 302, 303, 307, 308:
	default:
		r.Errorf(path+".redirectCode", "%d: 301, 302, 303, 307 or 308 expected", d.RedirectCode)
	}
	if d.PrefixRewrite != "" {
		out.PathPrefix, out.HasPrefix = d.PrefixRewrite, true
		if d.Uri != "" {
			r.Errorf(path, "only one of uri and prefixRewrite may be given")
		}
	}
	if after, ok := strings.CutPrefix(d.Uri, prefixToken); ok {
		out.Path, out.PathPrefix, out.HasPrefix = "", after, true
	}
	switch p := d.RedirectPort.(type) {
	case *networking.HTTPRedirect_Port:
		out.Port = values.Port(&r.Log, path+".port", p.Port)
	case *networking.HTTPRedirect_DerivePort:
		if p.DerivePort == networking.HTTPRedirect_FROM_REQUEST_PORT {
			out.DerivePort = model.PortFromRequest
		}
	}
	return out
}

var group = regexp.MustCompile(`\\.?`)

// substitution checks the groups that a replacement names: \0 to \9, and \\.
func (r *reader) substitution(path string, x *networking.RegexRewrite) {
	r.oneLine(path, x.Rewrite)
	expr, err := regexp.Compile(x.Match)
	if err != nil {
		return // recorded
	}
	for _, g := range group.FindAllString(x.Rewrite, -1) {
		digit := len(g) == 2 && g[1] >= '0' && g[1] <= '9'
		switch {
		case g == `\\`:
		case !digit:
			r.Errorf(path, `%q: a backslash is followed by a digit or a backslash`, g)
		case int(g[1]-'0') > expr.NumSubexp():
			r.Errorf(path, "%q: the expression has %d groups", g, expr.NumSubexp())
		}
	}
}

package route

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// rewrite is a compiled change of the path; the zero rewrite changes nothing.
type rewrite struct {
	prefix  *string
	matched int // length of the matched prefix, -1: the whole path
	regex   *regexp.Regexp
	replace []byte // regexp.Expand template
}

func newRewrite(prefix *string, rx *RegexRewrite, m *Match) (rewrite, error) {
	r := rewrite{prefix: prefix, matched: -1}
	if prefix != nil && rx != nil {
		return r, errors.New("prefix: beside regex")
	}
	switch m.PathKind {
	case Prefix:
		r.matched = len(m.Path)
	case SegmentPrefix:
		r.matched = len(strings.TrimRight(m.Path, "/"))
	}
	if rx == nil {
		return r, nil
	}
	var err error
	if r.regex, err = regexp.Compile(rx.Pattern); err != nil {
		return r, fmt.Errorf("regex: %w", err)
	}
	r.replace, err = template(rx.Substitution, r.regex.NumSubexp())
	return r, err
}

// template turns RE2's \1 into regexp's ${1}.
func template(s string, groups int) ([]byte, error) {
	var out []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '$':
			out = append(out, "$$"...)
		case s[i] != '\\':
			out = append(out, s[i])
		case i+1 == len(s):
			return nil, errors.New("substitution: ends in a backslash")
		case s[i+1] == '\\':
			out = append(out, '\\')
			i++
		case '0' <= s[i+1] && s[i+1] <= '9':
			if int(s[i+1]-'0') > groups {
				return nil, fmt.Errorf("substitution: no group \\%c", s[i+1])
			}
			out = append(out, '$', '{', s[i+1], '}')
			i++
		default:
			return nil, fmt.Errorf("substitution: unknown escape \\%c", s[i+1])
		}
	}
	return out, nil
}

// ForwardedHost appends the authority, which is about to be replaced, to x-forwarded-host, unless it is the last one there.
func ForwardedHost(h *exchange.Head) {
	const name = "x-forwarded-host"
	if len(h.Authority) == 0 {
		return
	}
	known := h.Joined(name)
	switch last := known[bytes.LastIndexByte(known, ',')+1:]; {
	case len(known) == 0:
		h.SetView(name, h.Authority)
	case string(last) != string(h.Authority):
		h.SetView(name, h.Append(func(dst []byte) []byte { return append(append(append(dst, known...), ','), h.Authority...) }))
	}
}

// path returns the new path with its query, in h's memory; nil where nothing changes, or, as in Envoy, where a pattern leaves no path.
func (r *rewrite) path(h *exchange.Head, full exchange.View) exchange.View {
	path, query := splitPath(full)
	switch {
	case r.regex != nil:
		out := r.regex.ReplaceAll(path, r.replace)
		if len(out) == 0 {
			return nil
		}
		if query != nil {
			out = append(append(out, '?'), query...)
		}
		return h.InternBytes(out)
	case r.prefix != nil:
		return h.Append(func(dst []byte) []byte {
			n := len(dst)
			dst = append(dst, *r.prefix...)
			if r.matched >= 0 {
				dst = append(dst, path[r.matched:]...)
			}
			if len(dst) == n {
				dst = append(dst, '/')
			}
			if query != nil {
				dst = append(append(dst, '?'), query...)
			}
			return dst
		})
	}
	return nil
}

// Location writes a redirect's location into x.Response and returns the status.
func (r *Route) Location(x *exchange.Exchange) int {
	d := r.Redirect
	from := "http"
	if x.Request.Scheme.Is("https") {
		from = "https"
	}
	scheme := d.Scheme
	if scheme == "" {
		scheme = from
	}
	path := r.redirectPath(x)
	x.Response.SetView("location", x.Response.Append(func(dst []byte) []byte {
		dst = append(append(dst, scheme...), "://"...)
		dst = appendHost(dst, d, x.Request.Authority, from, scheme)
		return append(dst, path...)
	}))
	if d.Status == 0 {
		return 301
	}
	return d.Status
}

// redirectPath returns path and query of the location.
func (r *Route) redirectPath(x *exchange.Exchange) []byte {
	d := r.Redirect
	if d.Path != "" {
		return withQuery(d, x.Request.Path)
	}
	path := r.redirect.path(&x.Response, x.Request.Path)
	if path == nil {
		path = x.Request.Path
	}
	if d.StripQuery {
		path, _ = splitPath(path)
	}
	if len(path) > 0 && path[0] != '/' { // it must not become a part of the host
		path = append([]byte{'/'}, path...)
	}
	return path
}

// withQuery is the redirect's own path, with its own query or else the request's.
func withQuery(d *Redirect, asked exchange.View) []byte {
	var out []byte
	if d.Path[0] != '/' {
		out = append(out, '/')
	}
	out = append(out, d.Path...)
	if _, query := splitPath(asked); query != nil && !d.StripQuery && !strings.Contains(d.Path, "?") {
		out = append(append(out, '?'), query...)
	}
	return out
}

// appendHost writes host and port: the redirect's, or else the request's, without the port that the scheme implies.
func appendHost(dst []byte, d *Redirect, authority exchange.View, from, to string) []byte {
	host := withoutPort(authority)
	port := string(authority[len(host):])
	if d.Host != "" {
		dst, port = append(dst, d.Host...), ""
	} else {
		dst = append(dst, host...)
	}
	if d.Port != 0 {
		port = ":" + strconv.FormatUint(uint64(d.Port), 10)
	} else if from != to && (port == ":80" || port == ":443") {
		port = ""
	}
	if to == "http" && port == ":80" || to == "https" && port == ":443" {
		port = ""
	}
	return append(dst, port...)
}

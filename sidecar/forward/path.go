package forward

import (
	"bytes"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// normalize makes the path the one that policies and routes judge, and that the upstream sees: RFC 3986's normal form as
// far as the listener asks for it. BadRequest: the path is malformed. LocalReply: the client is told where to ask instead.
func (r *run) normalize() exchange.Outcome {
	h := &r.x.Request
	p := h.Path
	if p.Is("*") && h.Method.Is("OPTIONS") {
		return exchange.OK
	}
	if len(p) == 0 || p[0] != '/' || bytes.IndexByte(p, '#') >= 0 {
		return exchange.BadRequest
	}
	c := r.http
	if !c.NormalizePath && !c.MergeSlashes && c.EscapedSlashes == config.SlashesKeep {
		return exchange.OK
	}
	path, query := p, exchange.View(nil)
	if i := bytes.IndexByte(p, '?'); i >= 0 {
		path, query = p[:i], p[i:]
	}
	if normal(path) {
		return exchange.OK
	}
	found := decoded(0)
	h.Path = h.Append(func(dst []byte) []byte {
		n := len(dst)
		if dst, found = appendDecoded(dst, path, c); found == malformed {
			return dst[:n]
		}
		if c.MergeSlashes {
			dst = mergeSlashes(dst, n)
		}
		if c.NormalizePath {
			dst = removeDots(dst, n)
		}
		return append(dst, query...)
	})
	switch {
	case found == malformed, found == slashes && c.EscapedSlashes == config.SlashesUnescapeRedirect && r.x.GRPC: // which follows no redirects
		return exchange.BadRequest
	case found == slashes && c.EscapedSlashes == config.SlashesUnescapeRedirect:
		to := h.Path
		for len(to) > 1 && to[1] == '/' { // which would name another host (RFC 3986, 4.2)
			to = to[1:]
		}
		r.x.Response.SetView("location", to)
		r.x.Reply.Status = 307
		return exchange.LocalReply
	}
	return exchange.OK
}

// decoded is what was found in a path.
type decoded uint8

const (
	slashes   decoded = iota + 1 // escaped ones, unescaped now
	malformed                    // no path, or none that is let in
)

// normal says quickly that nothing in a path could need work.
func normal(p []byte) bool {
	for i, c := range p {
		switch c {
		case '%', '\\':
			return false
		case '.', '/':
			if i > 0 && p[i-1] == '/' {
				return false
			}
		}
	}
	return true
}

// appendDecoded decodes what needs no escape, keeps other escapes in upper case, and turns backslashes into slashes.
func appendDecoded(dst, p []byte, c *config.HTTP) (_ []byte, found decoded) {
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '\\' && c.NormalizePath:
			dst = append(dst, '/')
		case p[i] != '%':
			dst = append(dst, p[i])
		case i+2 >= len(p) || exchange.HexDigit(p[i+1]) < 0 || exchange.HexDigit(p[i+2]) < 0:
			return dst, malformed
		default:
			b := byte(exchange.HexDigit(p[i+1])<<4 | exchange.HexDigit(p[i+2]))
			slash := b == '/' || b == '\\'
			switch {
			case b == 0, slash && c.EscapedSlashes == config.SlashesReject:
				return dst, malformed
			case slash && c.EscapedSlashes != config.SlashesKeep:
				dst, found = append(dst, '/'), slashes
			case unreserved(b) && c.NormalizePath:
				dst = append(dst, b)
			default:
				dst = append(dst, '%', upper(p[i+1]), upper(p[i+2]))
			}
			i += 2
		}
	}
	return dst, found
}

func unreserved(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'f' {
		return c - 0x20
	}
	return c
}

// mergeSlashes makes one slash of several, in dst from n on.
func mergeSlashes(dst []byte, n int) []byte {
	out := dst[:n]
	for i := n; i < len(dst); i++ {
		if dst[i] == '/' && len(out) > n && out[len(out)-1] == '/' {
			continue
		}
		out = append(out, dst[i])
	}
	return out
}

// withoutParameters takes the parameters from a dot segment: servers that know path parameters go up at "/..;x" too.
func withoutParameters(segment []byte) []byte {
	if i := bytes.IndexByte(segment, ';'); i > 0 && (string(segment[:i]) == "/." || string(segment[:i]) == "/..") {
		return segment[:i]
	}
	return segment
}

// removeDots removes dot segments (RFC 3986, 5.2.4), in dst from n on.
func removeDots(dst []byte, n int) []byte {
	in, out := dst[n:], dst[:n]
	for len(in) > 0 {
		end := bytes.IndexByte(in[1:], '/') + 1
		if end == 0 {
			end = len(in)
		}
		segment := in[:end] // with its leading slash
		last := end == len(in)
		switch string(withoutParameters(segment)) {
		case "/.":
			if last {
				out = append(out, '/')
			}
		case "/..":
			if i := bytes.LastIndexByte(out[n:], '/'); i >= 0 {
				out = out[:n+i]
			}
			if last {
				out = append(out, '/')
			}
		default:
			out = append(out, segment...)
		}
		in = in[end:]
	}
	if len(out) == n {
		out = append(out, '/')
	}
	return out
}

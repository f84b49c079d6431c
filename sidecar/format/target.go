package format

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// path compiles PATH(X:Y): X with the query (WQ, the default) or without (NQ), Y the path before a rewrite (ORIG), as it is now (PATH), or the former
// where there is one (ORIG_OR_PATH, the default).
func path(arg string) (operator, error) {
	query, which, _ := strings.Cut(arg, ":")
	if query != "" && query != "WQ" && query != "NQ" {
		return nil, fmt.Errorf("operator %%PATH(%s)%%: not supported", arg)
	}
	first, second := "x-envoy-original-path", ":path"
	switch which {
	case "", "ORIG_OR_PATH":
	case "ORIG":
		second = first
	case "PATH":
		first = second
	default:
		return nil, fmt.Errorf("operator %%PATH(%s)%%: not supported", arg)
	}
	return header("PATH", first, second, field(func(x *exchange.Exchange, n string) exchange.View {
		v := requestField(x, n)
		if query == "NQ" {
			v, _, _ = bytes.Cut(v, []byte("?"))
		}
		return v
	}))
}

// parameter compiles QUERY_PARAM(NAME): the first value of that name in the path's query.
func parameter(name string) (operator, error) {
	if name == "" {
		return nil, errors.New("operator %QUERY_PARAM%: names no parameter")
	}
	return func(dst []byte, x *exchange.Exchange) []byte {
		_, rest, _ := bytes.Cut(x.Request.Path, []byte("?"))
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte("&"))
			key, value, _ := bytes.Cut(pair, []byte("="))
			n := len(dst)
			if dst = unescape(dst, key); string(dst[n:]) == name {
				return unescape(dst[:n], value)
			}
			dst = dst[:n]
		}
		return dst
	}, nil
}

// unescape appends v without its escapes, but for those of control characters, which must not come to end a line of a log.
func unescape(dst, v []byte) []byte {
	for len(v) > 0 {
		var c [1]byte
		if v[0] == '%' && len(v) > 2 {
			if _, err := hex.Decode(c[:], v[1:3]); err == nil && c[0] >= ' ' && c[0] != 0x7f {
				dst, v = append(dst, c[0]), v[3:]
				continue
			}
		}
		dst, v = append(dst, v[0]), v[1:]
	}
	return dst
}

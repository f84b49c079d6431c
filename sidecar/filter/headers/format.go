package headers

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// part is a literal or an operator of a value.
type part func(dst []byte, x *exchange.Exchange) []byte

// compileValue splits a value into literals and operators; "%%" is a percent sign.
func compileValue(v string) ([]part, error) {
	var parts []part
	for v != "" {
		i := strings.IndexByte(v, '%')
		if i != 0 {
			if i < 0 {
				i = len(v)
			}
			parts = append(parts, literal(v[:i]))
			v = v[i:]
			continue
		}
		if strings.HasPrefix(v, "%%") {
			parts, v = append(parts, literal("%")), v[2:]
			continue
		}
		end := strings.IndexByte(v[1:], '%')
		if end < 0 {
			return nil, errors.New("operator without closing %")
		}
		p, err := operator(v[1 : 1+end])
		if err != nil {
			return nil, err
		}
		parts, v = append(parts, p), v[end+2:]
	}
	return parts, nil
}

func literal(s string) part {
	return func(dst []byte, _ *exchange.Exchange) []byte { return append(dst, s...) }
}

// operator compiles NAME, NAME(ARG) or NAME(ARG):LENGTH.
func operator(op string) (part, error) {
	name, arg, limit := op, "", 0
	if i := strings.IndexByte(op, '('); i >= 0 {
		j := strings.LastIndexByte(op, ')')
		if j < i {
			return nil, fmt.Errorf("operator %%%s%%: unbalanced parentheses", op)
		}
		name, arg = op[:i], op[i+1:j]
		if rest := op[j+1:]; rest != "" {
			n, err := strconv.Atoi(strings.TrimPrefix(rest, ":"))
			if err != nil || n <= 0 || rest[0] != ':' {
				return nil, fmt.Errorf("operator %%%s%%: bad length %q", op, rest)
			}
			limit = n
		}
	}
	p := field(name, arg)
	if p == nil {
		p = fact(name)
	}
	if p == nil {
		return nil, fmt.Errorf("operator %%%s%%: not supported", op)
	}
	if limit == 0 {
		return p, nil
	}
	return func(dst []byte, x *exchange.Exchange) []byte {
		n := len(dst)
		dst = p(dst, x)
		return dst[:min(len(dst), n+limit)]
	}, nil
}

// field compiles REQ and RESP: a header, or another where the first is missing.
func field(name, arg string) part {
	first, second, _ := strings.Cut(strings.ToLower(arg), "?")
	if first == "" {
		return nil
	}
	switch name {
	case "REQ":
		return func(dst []byte, x *exchange.Exchange) []byte {
			if v := requestField(x, first); v != nil || second == "" {
				return append(dst, v...)
			}
			return append(dst, requestField(x, second)...)
		}
	case "RESP":
		return func(dst []byte, x *exchange.Exchange) []byte {
			if v := x.Response.Get(first); v != nil || second == "" {
				return append(dst, v...)
			}
			return append(dst, x.Response.Get(second)...)
		}
	}
	return nil
}

func requestField(x *exchange.Exchange, name string) exchange.View {
	switch name {
	case ":method":
		return x.Request.Method
	case ":path":
		return x.Request.Path
	case ":authority", "host":
		return x.Request.Authority
	case ":scheme":
		return x.Request.Scheme
	}
	return x.Request.Get(name)
}

// fact compiles an operator without argument; nil where there is none of that name.
func fact(name string) part {
	if f := connectionFact(name); f != nil {
		return f
	}
	switch name {
	case "PROTOCOL":
		return text(func(x *exchange.Exchange) string { return x.Protocol.String() })
	case "ROUTE_NAME":
		return text(func(x *exchange.Exchange) string { return x.RouteName })
	case "VIRTUAL_HOST_NAME":
		return text(func(x *exchange.Exchange) string { return x.VirtualHost })
	case "RESPONSE_CODE_DETAILS":
		return text((*exchange.Exchange).Text)
	case "RESPONSE_FLAGS":
		return text(func(x *exchange.Exchange) string { return x.Flags.String() })
	case "RESPONSE_CODE":
		return func(dst []byte, x *exchange.Exchange) []byte {
			return strconv.AppendInt(dst, int64(x.Response.Status), 10)
		}
	case "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW":
		return text(func(x *exchange.Exchange) string {
			if x.Upstream.Cluster == nil {
				return ""
			}
			return x.Upstream.Cluster.Name
		})
	case "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS":
		return func(dst []byte, x *exchange.Exchange) []byte {
			if x.Upstream.Endpoint == nil {
				return dst
			}
			return x.Upstream.Endpoint.Address.AppendTo(dst)
		}
	case "START_TIME":
		return func(dst []byte, x *exchange.Exchange) []byte {
			return x.Start.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
		}
	case "START_TIME_MILLIS":
		return func(dst []byte, x *exchange.Exchange) []byte { return strconv.AppendInt(dst, x.Start.UnixMilli(), 10) }
	}
	return nil
}

func connectionFact(name string) part {
	switch name {
	case "DOWNSTREAM_REMOTE_ADDRESS":
		return address(func(x *exchange.Exchange) netip.AddrPort { return netip.AddrPortFrom(x.Remote, x.Conn.Source.Port()) }, true)
	case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":
		return address(func(x *exchange.Exchange) netip.AddrPort { return netip.AddrPortFrom(x.Remote, 0) }, false)
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS":
		return address(func(x *exchange.Exchange) netip.AddrPort { return x.Conn.Source }, true)
	case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
		return address(func(x *exchange.Exchange) netip.AddrPort { return x.Conn.Source }, false)
	case "DOWNSTREAM_LOCAL_ADDRESS":
		return address(func(x *exchange.Exchange) netip.AddrPort { return x.Conn.Destination }, true)
	case "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":
		return address(func(x *exchange.Exchange) netip.AddrPort { return x.Conn.Destination }, false)
	case "DOWNSTREAM_LOCAL_PORT":
		return func(dst []byte, x *exchange.Exchange) []byte {
			return strconv.AppendUint(dst, uint64(x.Conn.Destination.Port()), 10)
		}
	case "REQUESTED_SERVER_NAME":
		return text(func(x *exchange.Exchange) string { return x.Conn.SNI })
	case "DOWNSTREAM_TLS_VERSION":
		return security(func(s *exchange.Security) string { return s.Version })
	case "DOWNSTREAM_TLS_CIPHER":
		return security(func(s *exchange.Security) string { return s.Cipher })
	case "DOWNSTREAM_PEER_URI_SAN":
		return security(func(s *exchange.Security) string { return s.Identity.URI })
	case "DOWNSTREAM_PEER_SUBJECT":
		return security(func(s *exchange.Security) string { return s.Subject })
	case "DOWNSTREAM_PEER_FINGERPRINT_256":
		return security(func(s *exchange.Security) string { return s.Hash })
	case "DOWNSTREAM_LOCAL_URI_SAN":
		return security(func(s *exchange.Security) string { return s.LocalURI })
	}
	return nil
}

func text(get func(*exchange.Exchange) string) part {
	return func(dst []byte, x *exchange.Exchange) []byte { return append(dst, get(x)...) }
}

func security(get func(*exchange.Security) string) part {
	return func(dst []byte, x *exchange.Exchange) []byte {
		if x.Conn.Security == nil {
			return dst
		}
		return appendPrintable(dst, get(x.Conn.Security))
	}
}

func address(get func(*exchange.Exchange) netip.AddrPort, port bool) part {
	return func(dst []byte, x *exchange.Exchange) []byte {
		a := get(x)
		if port {
			return a.AppendTo(dst)
		}
		return a.Addr().AppendTo(dst)
	}
}

// appendPrintable leaves out control bytes: certificates may contain anything.
func appendPrintable(dst []byte, s string) []byte {
	for i := range len(s) {
		if s[i] >= ' ' && s[i] != 0x7f {
			dst = append(dst, s[i])
		}
	}
	return dst
}

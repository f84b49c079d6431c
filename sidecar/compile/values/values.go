// Package values reads the small parts of xDS messages, and says in errors at which field they stand. It knows no resource.
package values

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-mesh/heddle/sidecar/match"
)

// Under puts a field in front of an error that begins with a path below it.
func Under(field string, err error) error { return fmt.Errorf("%s.%w", field, err) }

// Wrong is an error at a field.
func Wrong(field, format string, args ...any) error {
	return fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...))
}

// Duration reads a field with a default for where it is absent.
func Duration(d *durationpb.Duration, absent time.Duration) time.Duration {
	if d == nil {
		return absent
	}
	return d.AsDuration()
}

// Optional reads a field that says something other when it is absent than with any value; nil: it is.
func Optional(d *durationpb.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	return new(d.AsDuration())
}

// Boolean reads a field with a default for where it is absent.
func Boolean(b *wrapperspb.BoolValue, absent bool) bool {
	if b == nil {
		return absent
	}
	return b.GetValue()
}

// Number reads a field with a default for where it is absent.
func Number(n *wrapperspb.UInt32Value, absent uint32) uint32 {
	if n == nil {
		return absent
	}
	return n.GetValue()
}

// Open reads an extension into m.
func Open[M proto.Message](field string, a *anypb.Any, m M) (M, error) {
	if err := a.UnmarshalTo(m); err != nil {
		return m, Wrong(field, "%w", err)
	}
	return m, nil
}

// PerMillion turns a percentage into parts of 1,000,000.
func PerMillion(p *typev3.FractionalPercent) uint32 {
	unit := Unit(p)
	return min(p.GetNumerator(), million/unit) * unit
}

const million = 1_000_000

// Unit is how many parts of 1,000,000 a percentage's numerator counts.
func Unit(p *typev3.FractionalPercent) uint32 {
	switch p.GetDenominator() {
	case typev3.FractionalPercent_TEN_THOUSAND:
		return million / 10_000
	case typev3.FractionalPercent_MILLION:
		return 1
	}
	return million / 100
}

// Address reads an IP address and port.
func Address(field string, a *core.Address) (netip.AddrPort, error) {
	socket := a.GetSocketAddress()
	if socket == nil {
		return netip.AddrPort{}, Wrong(field, "only socket addresses are implemented")
	}
	ip, err := netip.ParseAddr(socket.GetAddress())
	if err != nil {
		return netip.AddrPort{}, Wrong(field+".socket_address.address", "%w", err)
	}
	port, err := Port(field, socket)
	return netip.AddrPortFrom(ip, port), err
}

// Port reads the port of a TCP address.
func Port(field string, socket *core.SocketAddress) (uint16, error) {
	if socket.GetProtocol() != core.SocketAddress_TCP {
		return 0, Wrong(field+".socket_address.protocol", "only TCP is implemented")
	}
	if socket.GetPortValue() > 65535 {
		return 0, Wrong(field+".socket_address.port_value", "%d is no port", socket.GetPortValue())
	}
	return uint16(socket.GetPortValue()), nil
}

// Prefix reads an address block.
func Prefix(field string, c *core.CidrRange) (netip.Prefix, error) {
	ip, err := netip.ParseAddr(c.GetAddressPrefix())
	if err != nil {
		return netip.Prefix{}, Wrong(field+".address_prefix", "%w", err)
	}
	p, err := ip.Prefix(int(c.GetPrefixLen().GetValue()))
	if err != nil {
		return netip.Prefix{}, Wrong(field+".prefix_len", "%w", err)
	}
	return p, nil
}

// Prefixes reads address blocks.
func Prefixes(field string, in []*core.CidrRange) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for i, c := range in {
		p, err := Prefix(fmt.Sprintf("%s[%d]", field, i), c)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// StringMatch reads a string matcher. A regex is compiled here so that the error has its path.
func StringMatch(field string, m *matcher.StringMatcher) (match.Config, error) {
	c := match.Config{IgnoreCase: m.GetIgnoreCase()}
	switch p := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		c.Kind, c.Value = match.Exact, p.Exact
	case *matcher.StringMatcher_Prefix:
		c.Kind, c.Value = match.Prefix, p.Prefix
	case *matcher.StringMatcher_Suffix:
		c.Kind, c.Value = match.Suffix, p.Suffix
	case *matcher.StringMatcher_Contains:
		c.Kind, c.Value = match.Contains, p.Contains
	case *matcher.StringMatcher_SafeRegex:
		c.Kind, c.Value, c.IgnoreCase = match.Regex, p.SafeRegex.GetRegex(), false
	default:
		return c, Wrong(field, "it matches nothing")
	}
	if _, err := match.New(c); err != nil {
		return c, Wrong(field, "%w", err)
	}
	return c, nil
}

// Texts reads a struct of strings; other values are left out.
func Texts(s *structpb.Struct) map[string]string {
	if len(s.GetFields()) == 0 {
		return nil
	}
	out := make(map[string]string, len(s.GetFields()))
	for k, v := range s.GetFields() {
		if text, ok := v.GetKind().(*structpb.Value_StringValue); ok {
			out[k] = text.StringValue
		}
	}
	return out
}

// Word is the last word of a message's or filter's name.
func Word(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// Within is Under for an error that may be nil.
func Within(field string, err error) error {
	if err == nil {
		return nil
	}
	return Under(field, err)
}

// longestHead is the most that Envoy takes for the length of heads, in KiB.
const longestHead = 8192

// Kilobytes reads how long a head may be, in bytes; 0: nothing is said.
func Kilobytes(field string, in *wrapperspb.UInt32Value) (int, error) {
	if in != nil && (in.GetValue() == 0 || in.GetValue() > longestHead) {
		return 0, Wrong(field, "%d is not within 1 to %d", in.GetValue(), longestHead)
	}
	return int(in.GetValue()) << 10, nil
}

// HeaderCount reads how many fields a head may have; 0: nothing is said.
func HeaderCount(in *core.HttpProtocolOptions) (int, error) {
	n := in.GetMaxHeadersCount()
	if n != nil && n.GetValue() == 0 {
		return 0, Wrong("max_headers_count", "at least 1 expected")
	}
	return int(n.GetValue()), nil
}

// Package values reads the small things that several kinds of objects share: host names, visibilities, selectors, durations,
// ports, protocols. It is pure; mistakes go to the object's log, with their path.
package values

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Created is when an object was created, in seconds since 1970; 0 where it does not say.
func Created(o metav1.Object) int64 {
	if at := o.GetCreationTimestamp(); !at.IsZero() {
		return at.Unix()
	}
	return 0
}

// Host resolves a short name: one without a dot is a Service of the object's namespace. Others stay as they are, in lower case.
func Host(name, namespace, domain string) string {
	if !Short(name) {
		return strings.ToLower(name)
	}
	return string(AppendHost(nil, name, namespace, domain))
}

// Short reports whether a name is one of a Service in the namespace of whoever uses it.
func Short(name string) bool {
	return name != "" && name != "*" && !strings.ContainsAny(name, ".:")
}

// AppendHost writes what a short name stands for.
func AppendHost(to []byte, name, namespace, domain string) []byte {
	to = slices.Grow(to, len(name)+len(namespace)+len(domain)+len("..svc."))
	to = append(append(to, strings.ToLower(name)...), '.')
	return append(append(append(to, namespace...), ".svc."...), domain...)
}

// isLabel reports whether a text is one part of a DNS name: letters, digits, underscores, and hyphens within.
func isLabel(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		case c == '-' && i > 0 && i < len(text)-1:
		default:
			return false
		}
	}
	return text != ""
}

// IsAddress reports whether a text is an IP address. Most names are seen to be none by their last character.
func IsAddress(text string) bool {
	if text == "" {
		return false
	}
	last := text[len(text)-1]
	return (last >= '0' && last <= '9' || strings.Contains(text, ":")) && net.ParseIP(text) != nil
}

// ValidHost says what is wrong with a host name, or "". Wildcards are "*", "*.suffix", "*-suffix" and "*suffix"; addresses are host names too.
func ValidHost(host string, wildcard bool) string {
	if IsAddress(host) {
		return ""
	}
	rest := host
	if strings.HasPrefix(host, "*") {
		if !wildcard {
			return "a wildcard is not allowed here"
		}
		if host == "*" {
			return ""
		}
		rest = afterStar(host)
	}
	if len(rest) > 253 || rest == "" {
		return "a host name has 1 to 253 characters"
	}
	for part := range strings.SplitSeq(rest, ".") {
		if len(part) > 63 || !isLabel(part) {
			return "not a DNS name"
		}
	}
	return ""
}

// afterStar is what follows a star and the dot or hyphen next to it.
func afterStar(host string) string {
	rest := host[1:]
	if strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "-") {
		return rest[1:]
	}
	return rest
}

// ServerName says what is wrong with a name by which TLS finds its server, or "". Its star stands for whole labels (Envoy's server_names).
func ServerName(host string) string {
	if model.PartialWildcard(host) {
		return `with TLS a wildcard is "*" or begins with "*."`
	}
	return ValidHost(host, true)
}

// Export resolves exportTo. An empty list has the mesh's default, whose "." means the object's namespace.
func Export(log *report.Log, path string, list []string, namespace string, byDefault model.Visibility) model.Visibility {
	if len(list) == 0 {
		return ownNamespace(byDefault, namespace)
	}
	v := ParseExport(log, path, list)
	return ownNamespace(v, namespace)
}

// ParseExport reads exportTo without resolving ".".
func ParseExport(log *report.Log, path string, list []string) model.Visibility {
	var v model.Visibility
	for _, e := range list {
		switch {
		case e == "*":
			v.Public = true
		case e == "~":
			if len(list) > 1 {
				log.Errorf(path, `"~" must stand alone`)
			}
		case e == "." || isLabel(e):
			v.Namespaces = append(v.Namespaces, e)
		default:
			log.Errorf(path, "%q is not a namespace", e)
		}
	}
	if v.Public {
		return model.Visibility{Public: true}
	}
	slices.Sort(v.Namespaces)
	v.Namespaces = slices.Compact(v.Namespaces)
	return v
}

func ownNamespace(v model.Visibility, namespace string) model.Visibility {
	if v.Public || !slices.Contains(v.Namespaces, ".") {
		return v
	}
	out := make([]string, 0, len(v.Namespaces))
	for _, n := range v.Namespaces {
		if n == "." {
			n = namespace
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return model.Visibility{Namespaces: slices.Compact(out)}
}

// Selector reads match labels, which stay the object's own. Without labels there is no selector.
func Selector(log *report.Log, path string, labels map[string]string) model.Selector {
	if len(labels) == 0 {
		return nil
	}
	for k, v := range labels {
		if k == "" || strings.Contains(k, "*") || strings.Contains(v, "*") {
			log.Errorf(path, "%q: empty keys and wildcards are not allowed in a selector", k+"="+v)
		}
	}
	return labels
}

// Duration reads a duration that must not be negative; nil stays nil.
func Duration(log *report.Log, path string, d *durationpb.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	out := d.AsDuration()
	if out < 0 || (out > 0 && out < time.Millisecond) {
		log.Errorf(path, "%s: a duration of at least 1ms expected", out)
	}
	return &out
}

// DurationOr reads a duration, with a default for one that is not given.
func DurationOr(log *report.Log, path string, d *durationpb.Duration, byDefault time.Duration) time.Duration {
	if d == nil {
		return byDefault
	}
	return *Duration(log, path, d)
}

// Port reads a port number that must be given.
func Port(log *report.Log, path string, n uint32) uint16 {
	if n == 0 || n > 65535 {
		log.Errorf(path, "%d: a port between 1 and 65535 expected", n)
		return 0
	}
	return uint16(n)
}

// Count reads a number that must not be negative.
func Count(log *report.Log, path string, n int32) uint32 {
	if n < 0 {
		log.Errorf(path, "%d: must not be negative", n)
		return 0
	}
	return uint32(n)
}

// Regex records a regular expression that RE2 does not take. It reports whether it does.
func Regex(log *report.Log, path, expr string) bool {
	if expr == "" {
		log.Errorf(path, "empty regular expression")
		return false
	}
	if _, err := regexp.Compile(expr); err != nil {
		log.Errorf(path, "bad regular expression: %v", err)
		return false
	}
	return true
}

// FullRegex is Regex for an expression that must match the whole text: proxies put it between anchors, which not every one survives
// (an open \Q quotes them).
func FullRegex(log *report.Log, path, expr string) {
	if !Regex(log, path, expr) {
		return
	}
	if _, err := regexp.Compile(`\A(?:` + expr + `)\z`); err != nil {
		log.Errorf(path, "bad regular expression for a whole text: %v", err)
	}
}

// Address spells an IP address the one way in which it is compared ("fd00:0::1" is "fd00::1"); not ok: it is none.
func Address(s string) (string, bool) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return s, false
	}
	return ip.Unmap().String(), true
}

// Socket says whether s is the address of a Unix domain socket, and what is wrong with it: "unix://" and an absolute path, or "@" and a name of Linux's
// abstract namespace.
func Socket(s string) (is bool, why string) {
	path, is := strings.CutPrefix(s, model.SocketScheme)
	switch {
	case !is:
		return false, ""
	case len(path) < 2 || path[0] != '/' && path[0] != '@':
		return true, "unix:///absolute/path or unix://@name expected"
	case strings.HasSuffix(path, "/"):
		return true, "a socket is no folder"
	case len(path) > maxSocket || strings.ContainsRune(path, 0):
		return true, "the path of a socket has at most 107 bytes, none of them zero"
	}
	return true, ""
}

// maxSocket is how long the path of a socket may be in Linux (unix(7)).
const maxSocket = 107

// CIDR says whether s is an address or a block of addresses, and returns it as a block.
func CIDR(s string) (string, bool) {
	if ip := net.ParseIP(s); ip != nil {
		if ip.To4() != nil {
			return ip.String() + "/32", true
		}
		return ip.String() + "/128", true
	}
	_, block, err := net.ParseCIDR(s)
	if err != nil {
		return "", false
	}
	return block.String(), true
}

// Protocol reads the name of a protocol, in any case. The second result is false for names that nobody knows.
func Protocol(name string) (model.Protocol, bool) {
	switch strings.ToLower(name) {
	case "http":
		return model.HTTP, true
	case "http2":
		return model.HTTP2, true
	case "grpc":
		return model.GRPC, true
	case "grpc-web":
		return model.GRPCWeb, true
	case "https":
		return model.HTTPS, true
	case "tls":
		return model.TLS, true
	case "tcp":
		return model.TCP, true
	case "mongo":
		return model.Mongo, true
	case "mysql":
		return model.MySQL, true
	case "redis":
		return model.Redis, true
	case "udp":
		return model.UDP, true
	}
	return model.Unknown, false
}

// Locality reads "region/zone/subzone".
func Locality(s string) model.Locality {
	parts := append(strings.SplitN(s, "/", 3), "", "", "")
	return model.Locality{Region: parts[0], Zone: parts[1], Subzone: parts[2]}
}

// HeaderName reports whether a header can have a name (RFC 9110, section 5.1), or the request line, as ":path".
func HeaderName(name string) bool {
	for i, c := range []byte(name) {
		token := c > ' ' && c < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(c))
		if !token && (c != ':' || i != 0) {
			return false
		}
	}
	return true
}

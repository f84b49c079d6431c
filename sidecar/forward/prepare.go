package forward

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Prepare does to the head of a request what Serve does before it is matched, for who only wants to know what would become of it.
func Prepare(x *exchange.Exchange, c *config.HTTP) exchange.Outcome {
	return (&run{x: x, http: c}).prepare()
}

// prepare makes the request's head fit to be judged: normal path, settled client address, no headers that a client may
// not set.
func (r *run) prepare() exchange.Outcome {
	x, c := r.x, r.http
	h := &x.Request
	x.GRPC = isGRPC(h.Get("content-type"))
	r.scheme()
	if !h.Method.Is("CONNECT") || len(h.Path) > 0 {
		if o := r.normalize(); o != exchange.OK {
			return o
		}
	}
	outside := false
	if c.UseRemoteAddress {
		outside = !r.edge()
	} else if !h.Has("x-forwarded-proto") {
		h.SetView("x-forwarded-proto", r.spoken())
	}
	r.forwardCert()
	r.requestID(outside)
	return exchange.OK
}

// Never written.
var https, plain = exchange.View("https"), exchange.View("http")

// scheme settles the request's scheme. As in Envoy, one that came stays: an application that speaks plaintext must not be told of TLS between proxies.
// Else x-forwarded-proto says it, but at an edge only a trusted proxy's, or the connection. What an edge gets in plaintext from anybody else is http.
func (r *run) scheme() {
	h, trusted := &r.x.Request, !r.http.UseRemoteAddress || r.http.TrustedHops > 0
	said := schemeOf(h.Scheme)
	if said == nil && trusted {
		said = schemeOf(h.Joined("x-forwarded-proto"))
	}
	if said == nil || !trusted && r.x.Conn.Security == nil {
		said = r.spoken()
	}
	h.Scheme = said
}

// spoken is the scheme of the connection.
func (r *run) spoken() exchange.View {
	if r.x.Conn.Security != nil {
		return https
	}
	return plain
}

// schemeOf is a scheme in lower case, nil for what is none.
func schemeOf(v exchange.View) exchange.View {
	switch {
	case v.EqualFold("https"):
		return https
	case v.EqualFold("http"):
		return plain
	}
	return nil
}

// isGRPC says whether a content type is gRPC's ("application/grpc", "+proto" or parameters may follow; not grpc-web).
func isGRPC(v exchange.View) bool {
	const name = "application/grpc"
	return v.HasPrefix(name) && (len(v) == len(name) || v[len(name)] == '+' || v[len(name)] == ';')
}

// edge trusts nothing that comes from outside but the address of the peer, and of as many proxies before it as are known
// to be ours. It says whether the client may speak as one of the mesh.
func (r *run) edge() (internal bool) {
	x, h := r.x, &r.x.Request
	peer := x.Conn.Source.Addr().Unmap()
	internal = r.internal(peer)
	x.Remote = peer
	if hops := int(r.http.TrustedHops); hops > 0 {
		if a, ok := fromRight(h, hops); ok {
			x.Remote = a
		}
	}
	if internal {
		h.Set("x-envoy-internal", "true")
	} else {
		h.RemoveIf(foreign)
		h.SetView("x-envoy-external-address", h.Append(x.Remote.AppendTo))
	}
	old := h.Joined("x-forwarded-for")
	h.SetView("x-forwarded-for", h.Append(func(dst []byte) []byte {
		if len(old) > 0 {
			dst = append(append(dst, old...), ',')
		}
		return peer.AppendTo(dst)
	}))
	if r.http.TrustedHops == 0 || !h.Has("x-forwarded-proto") {
		h.SetView("x-forwarded-proto", r.spoken())
	}
	if port := x.Conn.Destination.Port(); r.http.TellPort && port != 0 && (r.http.TrustedHops == 0 || !h.Has("x-forwarded-port")) {
		h.SetView("x-forwarded-port", h.Append(func(dst []byte) []byte { return strconv.AppendUint(dst, uint64(port), 10) }))
	}
	return internal
}

// internal says whether a client may speak as one of the mesh: its address is internal, and it speaks for nobody else.
func (r *run) internal(peer netip.Addr) bool {
	return !r.x.Request.Has("x-forwarded-for") && slices.ContainsFunc(r.http.Internal, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// foreign chooses what nobody outside may say.
func foreign(f exchange.Field) bool { return f.Name.HasPrefix("x-envoy-") }

// fromRight returns the nth address from the right of x-forwarded-for.
func fromRight(h *exchange.Head, n int) (netip.Addr, bool) {
	v := h.Joined("x-forwarded-for")
	for ; n > 1; n-- {
		i := bytes.LastIndexByte(v, ',')
		if i < 0 {
			return netip.Addr{}, false
		}
		v = v[:i]
	}
	if i := bytes.LastIndexByte(v, ','); i >= 0 {
		v = v[i+1:]
	}
	a, err := netip.ParseAddr(string(bytes.TrimSpace(v)))
	return a.Unmap(), err == nil
}

// forwardCert settles x-forwarded-client-cert. Without a verified client certificate nothing may remain of it.
func (r *run) forwardCert() {
	const name = "x-forwarded-client-cert"
	x, mode := r.x, r.http.ForwardCert
	s := x.Conn.Security
	mutual := s != nil && s.Mutual
	switch {
	case mode == config.AlwaysForwardOnly, mode == config.ForwardOnly && mutual:
		return
	case !mutual, mode == config.Sanitize, mode == config.ForwardOnly:
		x.Request.Remove(name)
		return
	}
	old := exchange.View(nil)
	if mode == config.AppendForward {
		old = x.Request.Joined(name)
	}
	x.Request.SetView(name, x.Request.Append(func(dst []byte) []byte {
		if len(old) > 0 {
			dst = append(append(dst, old...), ',')
		}
		return appendCert(dst, s, r.http)
	}))
}

// appendCert writes one XFCC element.
func appendCert(dst []byte, s *exchange.Security, c *config.HTTP) []byte {
	if s.LocalURI != "" {
		dst = append(append(append(dst, "By="...), s.LocalURI...), ';')
	}
	dst = append(append(dst, "Hash="...), s.Hash...)
	if c.CertPEM && len(s.Cert) > 0 {
		dst = append(appendPEM(append(dst, `;Cert="`...), s.Cert), '"')
	}
	if c.CertSubject {
		dst = append(dst, `;Subject="`...)
		for i := range len(s.Subject) {
			switch b := s.Subject[i]; {
			case b == '"' || b == '\\':
				dst = append(dst, '\\', b)
			case b >= ' ' && b != 0x7f:
				dst = append(dst, b)
			}
		}
		dst = append(dst, '"')
	}
	if c.CertURI {
		dst = appendName(dst, ";URI=", s.Identity.URI)
	}
	if c.CertDNS {
		for _, d := range s.DNS {
			dst = appendName(dst, ";DNS=", d)
		}
	}
	return dst
}

// appendPEM writes a certificate as PEM whose special characters are escaped as Envoy escapes them.
func appendPEM(dst, der []byte) []byte {
	const width = 48 // bytes in a line
	dst = append(dst, "-----BEGIN%20CERTIFICATE-----%0A"...)
	for line := range slices.Chunk(der, width) {
		var text [width * 4 / 3]byte
		base64.StdEncoding.Encode(text[:], line)
		for _, b := range text[:base64.StdEncoding.EncodedLen(len(line))] {
			switch b {
			case '+':
				dst = append(dst, "%2B"...)
			case '/':
				dst = append(dst, "%2F"...)
			case '=':
				dst = append(dst, "%3D"...)
			default:
				dst = append(dst, b)
			}
		}
		dst = append(dst, "%0A"...)
	}
	return append(dst, "-----END%20CERTIFICATE-----%0A"...)
}

// appendName writes a name that the peer's certificate has, quoted where it holds what separates elements, pairs, or a key from its value (Envoy's
// manual on x-forwarded-client-cert). X.509 lets control bytes into it: such a name is left out, since without them it would be another one.
func appendName(dst []byte, key, name string) []byte {
	quote := false
	for i := range len(name) {
		switch b := name[i]; {
		case b < ' ' || b == 0x7f:
			return dst
		case b == ',' || b == ';' || b == '=' || b == '"' || b == '\\' || b == ' ':
			quote = true
		}
	}
	if dst = append(dst, key...); !quote {
		return append(dst, name...)
	}
	dst = append(dst, '"')
	for i := range len(name) {
		if b := name[i]; b == '"' || b == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, name[i])
	}
	return append(dst, '"')
}

// requestID gives the request an id: a random UUID where it has none, or where it comes from outside, whose ids are not kept.
func (r *run) requestID(outside bool) {
	const name = "x-request-id"
	h := &r.x.Request
	if !r.http.RequestID || h.Has(name) && (!outside || r.http.KeepRequestID) {
		return
	}
	var id [16]byte
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) // unique, not secret
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	h.SetView(name, h.Append(func(dst []byte) []byte {
		dst = append(hex.AppendEncode(dst, id[:4]), '-')
		dst = append(hex.AppendEncode(dst, id[4:6]), '-')
		dst = append(hex.AppendEncode(dst, id[6:8]), '-')
		dst = append(hex.AppendEncode(dst, id[8:10]), '-')
		return hex.AppendEncode(dst, id[10:])
	}))
}

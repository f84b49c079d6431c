package explain

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// Methods that stand for connections whose content is not looked at.
const (
	MethodTCP = "TCP"
	MethodTLS = "TLS" // the client's own TLS
)

// Request is what a client sends.
type Request struct {
	Method    string
	Host      string
	Port      uint16
	authority string
	path      string
	headers   [][2]string
	protocol  exchange.Protocol
	http      bool
	relayed   bool // the last proxy carries it as bytes
	tls       bool // the client's own
	sni       string
	key       upstream.Key // what hashing balancers choose by
	pin       exchange.Pin // whom the client wants to stay with
	text      string
}

// String is METHOD URL.
func (r *Request) String() string { return r.text }

// ParseRequest reads METHOD URL and headers ("name: value"). TCP, TLS and CONNECT tcp://host:port are connections of bytes.
func ParseRequest(method, address string, headers []string, http2 bool) (*Request, error) {
	if !strings.Contains(address, "://") {
		address = map[string]string{MethodTCP: "tcp://", MethodTLS: "tls://"}[strings.ToUpper(method)] + address
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no URL: want http://host[:port]/path, https://..., tcp://host:port or tls://host:port", address)
	}
	r := &Request{Method: strings.ToUpper(method), Host: strings.ToLower(u.Hostname()), authority: u.Host, text: strings.ToUpper(method) + " " + address}
	if err := r.scheme(u); err != nil {
		return nil, err
	}
	if r.path = u.RequestURI(); r.path == "" || r.path[0] != '/' {
		r.path = "/" + r.path
	}
	if r.protocol = exchange.HTTP1; http2 {
		r.protocol = exchange.HTTP2
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if name = strings.ToLower(strings.TrimSpace(name)); !ok || name == "" {
			return nil, fmt.Errorf("-H %q: want name:value", h)
		}
		if value = strings.TrimSpace(value); name == "host" {
			r.authority = value
			continue
		}
		r.headers = append(r.headers, [2]string{name, value})
	}
	return r, nil
}

// scheme settles the port, and what the client speaks.
func (r *Request) scheme(u *url.URL) error {
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	switch u.Scheme {
	case "http":
		r.http = true
	case "https", "tls":
		r.http, r.tls, r.sni = u.Scheme == "https", true, r.Host
		if net.ParseIP(r.Host) != nil {
			r.sni = ""
		}
	case "tcp":
	default:
		return fmt.Errorf("%q: the scheme is none of http, https, tcp, tls", u.Scheme)
	}
	if bytes := r.Method == MethodTCP || r.Method == MethodTLS; bytes && u.Scheme == "http" || !bytes && !r.http && r.Method != "CONNECT" {
		return fmt.Errorf("%s and %s do not go together: bytes are TCP tcp://host:port or TLS tls://host:port", r.Method, u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if port == "" {
		return fmt.Errorf("%q: a port is needed, as in tcp://%s:5432", u.String(), r.Host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no port", port)
	}
	r.Port = uint16(n)
	return nil
}

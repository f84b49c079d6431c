package simulation

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/sniff"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// peeked is a connection whose first bytes were looked at.
type peeked struct {
	net.Conn
	first io.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.first.Read(b) }

// hello reads a ClientHello as the listener does.
func hello(conn net.Conn) (sniff.Hello, net.Conn, bool) {
	var got []byte
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		got = append(got, buffer[:n]...)
		h, verdict := sniff.TLS(got)
		if verdict == sniff.Yes {
			return h, peeked{conn, io.MultiReader(bytes.NewReader(got), conn)}, true
		}
		if err != nil || verdict == sniff.No {
			return h, conn, false
		}
	}
}

// shaken is how the server's side of a handshake ended.
type shaken struct {
	security *exchange.Security
	chain    *config.FilterChain
}

// accept is a listener that waits for TLS.
func accept(ctx context.Context, l *config.Listener, c *exchange.Connection, raw net.Conn, done chan<- shaken) {
	defer raw.Close()
	h, conn, ok := hello(raw)
	if !ok {
		done <- shaken{}
		return
	}
	c.Transport, c.SNI, c.Offered, c.Via = "tls", h.ServerName, h.ALPN, l.Via
	out := shaken{chain: l.Choose(c)}
	if out.chain != nil && out.chain.TLS != nil {
		if _, s, err := out.chain.TLS.Server(ctx, conn); err == nil {
			out.security = s
		}
	}
	done <- out
	if out.security == nil {
		return
	}
	_, _ = io.Copy(io.Discard, raw) // the client's last flight
}

// shake secures a connection as the client's proxy does.
func (s *security) shake(ctx context.Context, raw net.Conn, e *exchange.Endpoint, tr traffic) error {
	protocol, name := exchange.TCP, ""
	if tr.http {
		if protocol = tr.protocol; s.cluster.HostSNI {
			name, _, _ = strings.Cut(strings.ToLower(tr.authority), ":")
		}
	}
	_, _, err := s.Handshake(ctx, raw, e, name, protocol)
	return err
}

// patience is how long a handshake may take on a machine that is busy.
const patience = 30 * time.Second

// offered is the SNI that the world outside sees, or why the client says nothing.
func (s *security) offered(e *exchange.Endpoint, tr traffic) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, server := net.Pipe()
	seen := make(chan string, 1)
	go func() {
		defer server.Close()
		defer close(seen)
		if h, _, ok := hello(server); ok {
			seen <- h.ServerName
		}
	}()
	err := s.shake(ctx, client, e, tr) // nobody answers
	client.Close()
	if name, ok := <-seen; ok {
		return name, nil
	}
	return "", err
}

// presents is the name in the certificate that the world outside is shown, "" for none. verified: the client was content with a server that
// the mesh's authority vouches for.
func (s *security) presents(p *pki, e *exchange.Endpoint, tr traffic) (name string, verified bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	listener := bufconn.Listen(1 << 16) // a pipe would have both sides wait for each other to read
	defer listener.Close()
	settings := &tls.Config{ClientAuth: tls.RequestClientCert, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return p.outside(h.ServerName), nil
	}}
	done := make(chan *tls.Conn, 1)
	go func() {
		var server *tls.Conn
		if raw, err := listener.Accept(); err == nil {
			defer raw.Close()
			if server = tls.Server(raw, settings); server.HandshakeContext(ctx) != nil {
				server = nil
			}
		}
		done <- server
	}()
	client, err := listener.DialContext(ctx)
	if err != nil {
		return "", false
	}
	if err = s.shake(ctx, client, e, tr); err != nil {
		client.Close()
	}
	server := <-done // whose ticket for the next session comes last
	client.Close()
	if err != nil || server == nil {
		return "", false
	}
	if shown := server.ConnectionState().PeerCertificates; len(shown) > 0 {
		name = strings.Join(shown[0].DNSNames, ",")
	}
	return name, true
}

// duplex is a connection whose sides can both write before either reads, as a client does that refuses a server in the midst of its flight.
func (m *mesh) duplex(ctx context.Context) (client, server net.Conn) {
	listener := bufconn.Listen(1 << 16)
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := listener.Accept() // fails where nobody dials
		accepted <- c
	}()
	client, err := listener.DialContext(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	return client, <-accepted
}

// handshake runs mesh mTLS (or TLS of a user's choice) between two proxies, for real.
func (m *mesh) handshake(p *pod, l *config.Listener, c *exchange.Connection, shake *security, e *exchange.Endpoint, tr traffic, share float64, j *journey) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, server := m.duplex(ctx)
	done := make(chan shaken, 1)
	go accept(ctx, l, c, server, done)
	err := shake.shake(ctx, client, e, tr)
	client.Close()
	got := <-done
	if got.chain != nil && got.chain.TLS == nil && got.chain.TCP != nil { // the gateway looks at the name and ends nothing
		m.carry(p.proxy, got.chain, c, shake, e, tr, share, j)
		return
	}
	if err != nil || got.security == nil {
		j.unshaken(err)
		if err != nil && p.refused(err.Error()) {
			j.say("impostor")
		}
		return
	}
	c.Security = got.security
	m.serve(p.proxy, l, c, tr, share, j)
}

// unshaken notes that a connection could not be secured; err may be the server's alone, nil.
func (j *journey) unshaken(err error) {
	j.say("503")
	j.say("UF")
	if err != nil && strings.Contains(err.Error(), "identity is unknown") {
		j.say("nameless")
	}
}

// carry takes TLS between two proxies through a third one that does not end it.
func (m *mesh) carry(p *proxy, chain *config.FilterChain, c *exchange.Connection, shake *security, e *exchange.Endpoint, tr traffic, share float64, j *journey) {
	source := netip.AddrPortFrom(netip.MustParseAddr(p.pod.ip), 40000)
	for _, w := range chain.TCP.Clusters {
		cluster, ends := p.reach(w.Cluster, c.Destination, c.SNI)
		if cluster == nil || len(ends) == 0 { // the client's handshake ends here
			j.say("503")
			j.say("UF")
			continue
		}
		for end, part := range balance(cluster, ends, upstream.Key{}) {
			if socket(cluster, end) != nil {
				j.say("wrapped") // in TLS of the gateway's own
			}
			m.arrive(source, end.Address, shake, e, tr, share*part/float64(len(chain.TCP.Clusters)), j)
		}
	}
}

// terminate ends a client's own TLS at a gateway.
func (m *mesh) terminate(p *proxy, l *config.Listener, c *exchange.Connection, tr traffic, share float64, j *journey) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, server := net.Pipe()
	done := make(chan shaken, 1)
	go accept(ctx, l, c, server, done)
	settings := &tls.Config{ServerName: tr.sni, RootCAs: m.pki.pool, NextProtos: []string{"h2", "http/1.1"}, InsecureSkipVerify: true}
	for _, h := range tr.headers {
		switch h[0] {
		case "client-tls":
			settings.MaxVersion = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[h[1]]
		case "client-certificate":
			settings.Certificates = []tls.Certificate{*m.pki.pair(h[1])}
		}
	}
	conn := tls.Client(client, settings)
	err := conn.HandshakeContext(ctx)
	if err == nil { // TLS 1.3: a server judges the client's certificate, and sends tickets, after the client is done
		go func() { _, _ = conn.Read(make([]byte, 1)) }()
	} else {
		client.Close()
	}
	got := <-done
	client.Close()
	if err != nil || got.security == nil {
		j.say("closed")
		return
	}
	for _, name := range conn.ConnectionState().PeerCertificates[0].DNSNames {
		j.say("certificate=%s", name)
	}
	c.Security, tr.tls = got.security, false
	m.serve(p, l, c, tr, share, j)
}

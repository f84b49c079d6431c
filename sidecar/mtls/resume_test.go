package mtls

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// shake has both sides shake hands and the server send a byte, by which tickets arrive as well.
func shake(t *testing.T, server, client func(net.Conn) (net.Conn, error)) {
	t.Helper()
	a, b := pair(t)
	done := make(chan error, 1)
	go func() {
		defer a.Close()
		conn, err := server(a)
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		done <- err
	}()
	defer b.Close()
	conn, err := client(b)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if other := <-done; err != nil || other != nil {
		t.Fatal(err, other)
	}
}

// TestServersResume: sessions of clients that nobody asks who they are are resumed, those of others never.
func TestServersResume(t *testing.T) {
	ca := newPKI(t)
	for name, c := range map[string]struct {
		peer *Peer
		want bool
	}{"anonymous clients": {nil, true}, "clients of the mesh": {&Peer{Required: true, Trust: Trust{Mesh: ca}}, false}, "clients that may be anonymous": {&Peer{Trust: Trust{Mesh: ca}}, false}} {
		server := NewServer(ServerConfig{ALPN: []string{"h2"}, Certificates: []Certificate{ca.holder("a.example.com")}, Peer: c.peer})
		config := &tls.Config{ServerName: "a.example.com", RootCAs: ca.pool, NextProtos: []string{"h2"}, ClientSessionCache: tls.NewLRUClientSessionCache(1), Certificates: []tls.Certificate{*ca.holder(web).cert}}
		resumed := false
		for range 2 {
			shake(t, func(raw net.Conn) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				conn, _, err := server.Server(ctx, raw)
				return conn, err
			}, func(raw net.Conn) (net.Conn, error) {
				conn := tls.Client(raw, config)
				err := conn.Handshake()
				resumed = conn.ConnectionState().DidResume
				return conn, err
			})
		}
		if resumed != c.want {
			t.Errorf("%s: resumed %t", name, resumed)
		}
	}
}

// TestClientsResume: towards a server outside of the mesh sessions are resumed, and the server is judged all the same; where the client says who it is, they are not.
func TestClientsResume(t *testing.T) {
	ca := newPKI(t)
	secrets := NewSecrets()
	if err := secrets.Put("ca", Material{CA: ca.ca()}); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{*ca.holder("a.example.com").cert}}
	for name, c := range map[string]struct {
		certificate Certificate
		want        bool
	}{"an anonymous client": {nil, true}, "one that has a certificate": {ca.holder(web), false}} {
		client := NewClient(ClientConfig{SNI: "a.example.com", Certificate: c.certificate, Trust: Trust{Secret: secrets.Slot("ca")}, NameFromSNI: true})
		resumed := make(chan bool, 1)
		meet := func(want bool) {
			shake(t, func(raw net.Conn) (net.Conn, error) {
				conn := tls.Server(raw, config)
				err := conn.Handshake()
				resumed <- conn.ConnectionState().DidResume
				return conn, err
			}, func(raw net.Conn) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				conn, _, err := client.Handshake(ctx, raw, &exchange.Endpoint{}, "", exchange.HTTP1)
				return conn, err
			})
			if got := <-resumed; got != want {
				t.Errorf("%s: resumed %t, want %t", name, got, want)
			}
		}
		meet(false)
		meet(c.want)
		if !c.want {
			continue
		}
		if err := secrets.Put("ca", Material{CA: newPKI(t).ca()}); err != nil { // whom the client trusts changes
			t.Fatal(err)
		}
		for _, resumes := range []bool{true, false} { // the session is forgotten
			a, b := pair(t)
			go func() { _ = tls.Server(a, config).Handshake(); a.Close() }()
			if _, _, err := client.Handshake(t.Context(), b, &exchange.Endpoint{}, "", exchange.HTTP1); err == nil || errors.Is(err, exchange.ErrSession) != resumes {
				t.Errorf("%s: with a server that is trusted no more, resuming is %t: %v", name, resumes, err)
			}
			b.Close()
		}
		if err := secrets.Put("ca", Material{CA: ca.ca()}); err != nil {
			t.Fatal(err)
		}
	}
}

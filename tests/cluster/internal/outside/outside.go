// Package outside is the world beyond the cluster: HTTP, HTTPS and TCP servers that tell their clients what they saw of them. It knows nothing
// of Kubernetes, and never dials anybody.
package outside

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/mirror"
)

// Run serves on ports 80, 443 and 9000 of every address until the context ends.
func Run(ctx context.Context, addresses []netip.Addr, certificate tls.Certificate) error {
	failed := make(chan error, 3*len(addresses))
	plain := &http.Server{Handler: mirror.Handler("outside"), ReadHeaderTimeout: 10 * time.Second}
	secure := &http.Server{
		Handler: mirror.Handler("outside"), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"},
		},
	}
	for _, a := range addresses {
		for port, serve := range map[uint16]func(net.Listener) error{
			80:   plain.Serve,
			443:  func(l net.Listener) error { return secure.ServeTLS(l, "", "") },
			9000: func(l net.Listener) error { return mirror.Echo(l, "") },
		} {
			l, err := net.Listen("tcp", netip.AddrPortFrom(a, port).String())
			if err != nil {
				return fmt.Errorf("listening outside: %w", err)
			}
			defer l.Close()
			go func() { failed <- serve(l) }()
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return fmt.Errorf("serving outside: %w", err)
	}
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
)

// Limits of servers. Streams of proxies live long; now and then they are asked to come back, so that replicas share them.
const (
	headerTimeout   = 10 * time.Second
	stopGrace       = 5 * time.Second
	callGrace       = time.Second // streams do not end by themselves, and their proxies are to go to another replica
	connectionAge   = 30 * time.Minute
	connectionGrace = 10 * time.Second
	keepaliveEvery  = 30 * time.Second
	keepaliveWait   = 10 * time.Second
	oftenestPing    = 5 * time.Second // proxies ask after 15 s of silence, as those of older releases after 30 s
	maxMessage      = 4 << 20
	readBuffer      = 8 << 10 // bytes of each connection: proxies say little, and there are thousands
	// window is how many bytes a client may be ahead of its server, in a stream and in all. It is fixed, since what finds out a better one asks for an
	// echo of each message that comes: with thousands of proxies that answer every push, half of what is read and written.
	window = 256 << 10
)

// everywhere is a port of all addresses.
func everywhere(port int) string { return net.JoinHostPort("", strconv.Itoa(port)) }

// listen opens host:port.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", address, err)
	}
	return l, nil
}

// webServer serves HTTP, over TLS where a configuration is given.
type webServer struct {
	name    string
	address string
	tls     *tls.Config
	handler http.Handler
	log     *slog.Logger
}

func (s webServer) component() lifecycle.Component {
	ready := make(chan struct{})
	return lifecycle.Component{Name: s.name, Ready: ready, Run: func(ctx context.Context) error { return s.run(ctx, ready) }}
}

func (s webServer) run(ctx context.Context, ready chan<- struct{}) error {
	l, err := listen(ctx, s.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler, TLSConfig: s.tls, ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() {
		if s.tls != nil {
			ended <- server.ServeTLS(l, "", "")
			return
		}
		ended <- server.Serve(l)
	}()
	close(ready)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := server.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}

// loopback lets in who comes from the pod itself, as a port-forward does: what the mesh is made of is not every pod's business.
func loopback(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !from.Addr().Unmap().IsLoopback() {
			http.Error(w, "only from the pod itself: use a port-forward", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// newGRPC returns a gRPC server over TLS.
func newGRPC(c *tls.Config, more ...grpc.ServerOption) *grpc.Server {
	c = c.Clone()
	c.DynamicRecordSizingDisabled = true // small records save a browser a round trip; here each is a system call, a hundred after each rest
	return grpc.NewServer(append(more,
		grpc.Creds(credentials.NewTLS(c)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace,
			Time: keepaliveEvery, Timeout: keepaliveWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: oftenestPing, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
	)...)
}

// rpcServer serves gRPC at host:port. Stopping, it lets calls end for a moment; streams do not end by themselves.
func rpcServer(name, address string, server *grpc.Server) lifecycle.Component {
	ready := make(chan struct{})
	return lifecycle.Component{Name: name, Ready: ready, Run: func(ctx context.Context) error {
		l, err := listen(ctx, address)
		if err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(l) }()
		close(ready)
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		force := time.AfterFunc(callGrace, server.Stop)
		defer force.Stop()
		server.GracefulStop()
		return nil
	}}
}

// health answers the kubelet: alive as long as it answers, ready once set.
type health struct{ ready atomic.Bool }

func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !h.ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	return mux
}

// component is the last to start: what came before it is ready. It is the first to stop.
func (h *health) component() lifecycle.Component {
	return lifecycle.Component{Name: "readiness", Run: func(ctx context.Context) error {
		h.ready.Store(true)
		<-ctx.Done()
		h.ready.Store(false)
		return nil
	}}
}

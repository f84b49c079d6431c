package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/tests/bench/load"
)

// streamCounts are at once on each connection of gRPC.
func streamCounts() []int { return []int{1, 16, 64} }

const rpcConnections = 8

// rpc measures unary calls: each count of streams, and their mean.
func (b *bench) rpc() experiment {
	turn := func(ctx context.Context, f *fleet) ([]float64, error) {
		var out []float64
		sum := 0.0
		for _, n := range streamCounts() {
			var seen load.Seen
			spent, err := f.costing(func() error {
				seen = load.GRPC{Address: f.addr, Authority: rpcHost, Connections: rpcConnections, Streams: n, For: b.each}.Run(ctx)
				return seen.Check()
			})
			if err != nil {
				return nil, fmt.Errorf("%d streams: %w", n, err)
			}
			cost := per(spent, time.Microsecond, float64(seen.Done))
			out, sum = append(out, cost), sum+cost
		}
		return append(out, sum/float64(len(out))), nil
	}
	var measures []measure
	for _, n := range streamCounts() {
		measures = append(measures, measure{fmt.Sprintf("CPU µs per call, %d at once", n), 1, nil})
	}
	measures = append(measures, measure{"CPU µs per call, mean", 1, []limit{{peer: nameEnvoy, must: 0.85, aim: 0.7}, {peer: nameHAProxy, must: 1.1, aim: 0.95}}})
	one := func(name string, start starter) contender { return against(name, start, nil, turn) }
	const forward = `grpc_pass grpc://backend; grpc_socket_keepalive on;`
	return b.withBefore(experiment{name: "grpc", title: "gRPC unary calls over HTTP/2 with prior knowledge, 64-byte messages, 8 connections", measures: measures, contenders: []contender{
		one(nameHeddle, b.meshed(b.heddle, bare())), one(nameHAProxy, b.to("grpc", haproxyOne("http", "proto h2", "    http-reuse always"))),
		one(nameNginx, b.to("grpc", nginx(" http2", forward))), one(nameEnvoy, b.meshed(b.envoy, bare()))}}, one(nameBefore, b.meshed(b.earlier, bare())))
}

const giga = 1e9

// bulk measures what bytes cost.
func (b *bench) bulk() experiment {
	turn := func(ctx context.Context, f *fleet) ([]float64, error) {
		sent, began := int64(0), time.Now()
		spent, err := f.costing(func() (err error) {
			sent, err = load.Bulk(ctx, f.tcp, b.each)
			return err
		})
		return []float64{per(spent, time.Millisecond, float64(sent)/giga), float64(sent) / giga / time.Since(began).Seconds()}, err
	}
	one := func(name string, start starter) contender { return against(name, start, nil, turn) }
	return experiment{name: "tcp", title: "Bytes over one TCP connection, plaintext", measures: []measure{
		{"CPU ms per GB", 0, []limit{{peer: best, must: 0.85, aim: 0.75}}}, {"GB per second", 2, nil}}, contenders: []contender{
		one(nameHeddle, b.meshed(b.heddle, bare())), one(nameHAProxy, b.to("discard", haproxyOne("tcp", "", "    option splice-auto"))),
		one(nameEnvoy, b.meshed(b.envoy, bare()))}}
}

// connects measures new mTLS connections to a server's sidecar.
func (b *bench) connects() experiment {
	turn := func(ctx context.Context, f *fleet) ([]float64, error) {
		config, err := f.clientTLS(ctx)
		if err != nil {
			return nil, err
		}
		var seen load.Seen
		spent, err := f.costing(func() error {
			seen = load.Connect{Address: f.addr, TLS: config, Clients: 4, For: b.each, Request: load.Get(serverHost, "/item")}.Run(ctx)
			return seen.Check()
		})
		return []float64{float64(seen.Done) / spent.Seconds()}, err
	}
	with := func(l launcher) starter { return func(ctx context.Context) (*fleet, error) { return b.server(ctx, l) } }
	return experiment{name: "connections", title: "New mTLS connections to a server's sidecar: a full handshake and one request", measures: []measure{
		{"connections per CPU second", 0, []limit{{peer: nameEnvoy, must: 1.0, aim: 1.3, atLeast: true}}}}, contenders: []contender{
		against(nameHeddle, with(b.heddle), nil, turn), against(nameEnvoy, with(b.envoy), nil, turn)}}
}

// clientTLS is the client's side of mTLS, for this program.
func (f *fleet) clientTLS(ctx context.Context) (*tls.Config, error) {
	dir, err := f.plane.Certificate(ctx, clientPod)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, wire.FileChain), filepath.Join(dir, wire.FileKey))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(f.plane.Roots())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"istio-http/1.1", "istio", "http/1.1"}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.CurveP256}, InsecureSkipVerify: true, // a workload's name is no host's: its chain is checked here
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates(s), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			return err
		}}, nil
}

func intermediates(s tls.ConnectionState) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		pool.AddCert(c)
	}
	return pool
}

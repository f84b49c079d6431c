package attest

import (
	"context"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// bearer begins the authorization header of a token; the scheme's case does not matter.
const bearer = "bearer "

// FromContext returns the proof that a gRPC call carries. A certificate counts only where TLS has verified it, and neither counts
// without TLS: a token must not have crossed the network in the clear.
func FromContext(ctx context.Context) Proof {
	var p Proof
	who, ok := peer.FromContext(ctx)
	if !ok {
		return p
	}
	tls, ok := who.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return p
	}
	if len(tls.State.VerifiedChains) > 0 {
		p.Chain = tls.State.VerifiedChains[0]
	}
	headers, _ := metadata.FromIncomingContext(ctx)
	if values := headers.Get("authorization"); len(values) == 1 && len(values[0]) > len(bearer) && strings.EqualFold(values[0][:len(bearer)], bearer) {
		p.Token = values[0][len(bearer):]
	}
	return p
}

// PeerAddress returns where a gRPC call comes from, for logs.
func PeerAddress(ctx context.Context) string {
	if who, ok := peer.FromContext(ctx); ok && who.Addr != nil {
		return who.Addr.String()
	}
	return "unknown"
}

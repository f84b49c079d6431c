package identity

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	security "istio.io/api/security/v1alpha1"

	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// Authority signs certificate requests.
type Authority interface {
	// Sign answers a PEM certificate request that asks for a lifetime of ttl.
	Sign(ctx context.Context, csr []byte, ttl time.Duration) (Answer, error)
}

// Answer is what an Authority signed.
type Answer struct {
	Chain []string // PEM, leaf first
	// TrustDomain is the one that the authority has proven to be of; empty where it has proven none.
	TrustDomain string
}

// RemoteAuthority is the control plane's CA.
type RemoteAuthority struct {
	ControlPlane ControlPlane
}

// Sign implements Authority. It dials anew each time: calls are hours apart, and each should meet the current anchors and token.
func (a RemoteAuthority) Sign(ctx context.Context, csr []byte, ttl time.Duration) (Answer, error) {
	conn, err := a.ControlPlane.Dial()
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	var server peer.Peer
	response, err := security.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx,
		&security.IstioCertificateRequest{Csr: string(csr), ValidityDuration: int64(ttl / time.Second)}, grpc.Peer(&server))
	if err != nil {
		return Answer{}, fmt.Errorf("asking %s for a certificate: %w", a.ControlPlane.Address, err)
	}
	answer := Answer{Chain: response.GetCertChain()}
	if secured, ok := server.AuthInfo.(credentials.TLSInfo); ok && len(secured.State.PeerCertificates) > 0 {
		answer.TrustDomain = domainOf(secured.State.PeerCertificates[0])
	}
	return answer, nil
}

// domainOf is the trust domain that a certificate is of; "" where it names no workload.
func domainOf(leaf *x509.Certificate) string {
	if len(leaf.URIs) != 1 {
		return ""
	}
	id, err := spiffe.Parse(leaf.URIs[0].String())
	if err != nil {
		return ""
	}
	return id.TrustDomain
}

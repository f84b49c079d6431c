package identity

import (
	"context"
	"fmt"
	"time"

	security "istio.io/api/security/v1alpha1"
)

// Authority signs certificate requests.
type Authority interface {
	// Sign returns the chain (PEM, leaf first) for a PEM certificate request that asks for a lifetime of ttl.
	Sign(ctx context.Context, csr []byte, ttl time.Duration) ([]string, error)
}

// RemoteAuthority is the control plane's CA.
type RemoteAuthority struct {
	ControlPlane ControlPlane
}

// Sign implements Authority. It dials anew each time: calls are hours apart, and each should meet the current anchors and token.
func (a RemoteAuthority) Sign(ctx context.Context, csr []byte, ttl time.Duration) ([]string, error) {
	conn, err := a.ControlPlane.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	response, err := security.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx,
		&security.IstioCertificateRequest{Csr: string(csr), ValidityDuration: int64(ttl / time.Second)})
	if err != nil {
		return nil, fmt.Errorf("asking %s for a certificate: %w", a.ControlPlane.Address, err)
	}
	return response.GetCertChain(), nil
}

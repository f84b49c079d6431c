// Package server signs over gRPC, as istio.v1.auth.IstioCertificateService, and holds the control plane's own serving
// certificate. It joins attest, issue and authority, logs and counts who was refused and why, and decides nothing itself.
package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	security "istio.io/api/security/v1alpha1"

	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/issue"
)

// Attest judges a proof, as attest.Attestor does.
type Attest func(ctx context.Context, p attest.Proof) (attest.Caller, error)

// Config is what a Server needs.
type Config struct {
	Authority *authority.Authority
	Attest    Attest
	Policy    issue.Policy
	Meter     metric.Meter
	Log       *slog.Logger
	Now       func() time.Time // default time.Now
}

// Server answers CreateCertificate.
type Server struct {
	security.UnimplementedIstioCertificateServiceServer
	Config
	requests metric.Int64Counter
}

// New returns a Server; it fails only where the meter refuses an instrument.
func New(c Config) (*Server, error) {
	requests, err := c.Meter.Int64Counter("heddle.ca.requests", metric.WithDescription("certificate requests by result: issued, error, or the check that refused"))
	if err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Server{Config: c, requests: requests}, nil
}

// Register adds s to a gRPC server. It must be one that serves TLS.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	security.RegisterIstioCertificateServiceServer(r, s)
}

// Results of a request that no check refused.
const (
	resultIssued = "issued"
	resultError  = "error"
)

// CreateCertificate signs for the identity that the call's token proves. The certificates of pods prove nobody here: a renewal comes with a
// fresh token, so that a stolen key is of no use once its certificate has ended. Machines have nobody who brings them tokens, and renew by the
// certificates that they have, as long as a WorkloadGroup lets them.
func (s *Server) CreateCertificate(ctx context.Context, in *security.IstioCertificateRequest) (*security.IstioCertificateResponse, error) {
	proof := attest.FromContext(ctx)
	if proof.Machine = true; len(proof.Chain) > 0 && !issue.OfMachine(proof.Chain[0]) {
		proof.Chain = nil
	}
	caller, err := s.Attest(ctx, proof)
	if err != nil {
		return nil, s.refused(ctx, caller, err, codes.Unauthenticated)
	}
	chain, err := s.sign(in, caller)
	if err != nil {
		return nil, s.refused(ctx, caller, err, codes.InvalidArgument)
	}
	s.count(ctx, resultIssued)
	s.Log.Debug("certificate issued", "identity", caller.Identity.String(), "pod", caller.PodName, "until", chain[0].NotAfter.UTC())
	return &security.IstioCertificateResponse{CertChain: encode(chain)}, nil
}

func (s *Server) sign(in *security.IstioCertificateRequest, caller attest.Caller) ([]*x509.Certificate, error) {
	csr, err := issue.ParseCSR([]byte(in.GetCsr()))
	if err != nil {
		return nil, err
	}
	ttl, err := seconds(in.GetValidityDuration())
	if err != nil {
		return nil, err
	}
	template, err := issue.Decide(issue.Request{CSR: csr, Caller: caller.Identity, TTL: ttl, Machine: caller.Machine}, s.Policy, s.Now())
	if err != nil {
		return nil, err
	}
	return s.Authority.Sign(template, csr.PublicKey)
}

// seconds refuses what a time.Duration cannot hold.
func seconds(n int64) (time.Duration, error) {
	const most = int64(1<<63-1) / int64(time.Second)
	if n < 0 || n > most {
		return 0, &issue.Refusal{Check: "lifetime", Reason: "out of range"}
	}
	return time.Duration(n) * time.Second, nil
}

// refused logs and counts err, and turns it into what the caller may know of it: of our own troubles, only that there are some.
func (s *Server) refused(ctx context.Context, caller attest.Caller, err error, code codes.Code) error {
	who, result := caller.Identity.String(), resultError
	var unproven *attest.Refusal
	var refusal *issue.Refusal
	switch {
	case errors.As(err, &unproven):
		who, result = unproven.Who, unproven.Check
	case errors.As(err, &refusal):
		result = refusal.Check
	default:
		code = codes.Unavailable
	}
	s.count(ctx, result)
	s.Log.Warn("certificate request refused", "who", who, "pod", caller.PodName, "from", attest.PeerAddress(ctx), "check", result, "err", err)
	if code == codes.Unavailable {
		return status.Error(code, "the certificate authority cannot answer now")
	}
	return status.Error(code, err.Error())
}

func (s *Server) count(ctx context.Context, result string) {
	s.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}

// encode returns one PEM text per certificate, leaf first.
func encode(chain []*x509.Certificate) []string {
	out := make([]string, 0, len(chain))
	for _, cert := range chain {
		var b bytes.Buffer
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a bytes.Buffer takes everything
		out = append(out, b.String())
	}
	return out
}

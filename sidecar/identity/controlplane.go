package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/emptypb"
)

// ControlPlane is how a proxy reaches one address of the control plane: over TLS that the current Roots judge, with a token read
// afresh for each call.
type ControlPlane struct {
	Address   string // host:port
	TokenPath string
	ClusterID string
	Roots     *Roots
	// Certificate, if set, is presented where the server asks for one; nil where there is none that is valid now.
	Certificate func() *tls.Certificate
	// Machine: nobody renews the token, so that it is shown only where there is no certificate.
	Machine bool
}

// A control plane that vanished without a word is left for another within 30 s: askAfter without a byte from it, answerWithin for the answer to a ping, and the
// rest for waits and a connection or two that nobody takes. Servers of all releases allow a ping each 5 s.
const (
	askAfter      = 15 * time.Second
	answerWithin  = 5 * time.Second
	connectWithin = 3 * time.Second // TCP alone: a server that is busy may take longer for its handshake
)

// Dial prepares a connection; it does not wait for it.
func (c ControlPlane) Dial() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("dns:///"+c.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(c.tls())),
		grpc.WithPerRPCCredentials(c.proof()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: askAfter, Timeout: answerWithin}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: connectWithin, KeepAlive: -1}).DialContext(ctx, "tcp", address)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithDisableServiceConfig(), grpc.WithNoProxy())
	if err != nil {
		return nil, fmt.Errorf("dialling control plane %s: %w", c.Address, err)
	}
	return conn, nil
}

// window is how many bytes the control plane may be ahead. It is fixed: what finds out a better one would ask for an echo of each push.
const window = 1 << 20

// proof is what is sent with each call.
func (c ControlPlane) proof() credentials.PerRPCCredentials {
	file := tokenFile{path: c.TokenPath, cluster: c.ClusterID}
	if c.Machine && c.Certificate != nil {
		return unlessCertified{file, c.Certificate}
	}
	return file
}

// maxMessage bounds one message from the control plane: a first push to a proxy of a very large mesh.
const maxMessage = 512 << 20

func (c ControlPlane) tls() *tls.Config {
	name := c.serverName()
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: name,
		// The anchors may change while the connection lives, so VerifyConnection asks for them anew at each handshake.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if c.Roots.Certificates() == nil { // nobody has read them yet: do not wait for somebody to
				if _, err := c.Roots.Load(); err != nil {
					return err
				}
			}
			return c.Roots.VerifyHost(state.PeerCertificates, name, time.Now())
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c.Certificate != nil {
				if cert := c.Certificate(); cert != nil {
					return cert, nil
				}
			}
			return &tls.Certificate{}, nil
		},
	}
}

// serverName is the host of the address, or the control plane's Service where the address is an IP.
func (c ControlPlane) serverName() string {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil || net.ParseIP(host) != nil {
		return wire.DiscoveryService + "." + wire.SystemNamespace + ".svc"
	}
	return strings.TrimSuffix(host, ".")
}

// AwaitCompletion returns nil once every other container of this pod has ended for good, and an error where it could not learn that.
func (c ControlPlane) AwaitCompletion(ctx context.Context) error {
	conn, err := c.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Invoke(ctx, wire.MethodAwaitCompletion, &emptypb.Empty{}, &emptypb.Empty{}); err != nil {
		return fmt.Errorf("awaiting the application's end: %w", err)
	}
	return nil
}

// tokenFile sends the bearer token that a file holds at the time of the call: the kubelet replaces it.
type tokenFile struct{ path, cluster string }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	data, err := os.ReadFile(t.path)
	if err != nil {
		return nil, fmt.Errorf("reading token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return nil, errors.New("reading token: file " + t.path + " is empty")
	}
	return map[string]string{"authorization": "Bearer " + token, "clusterid": t.cluster}, nil
}

// unlessCertified sends the token only where there is no certificate, which proves as much and is renewed.
type unlessCertified struct {
	tokenFile
	certificate func() *tls.Certificate
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (u unlessCertified) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if u.certificate() != nil {
		return map[string]string{"clusterid": u.cluster}, nil
	}
	return u.tokenFile.GetRequestMetadata(ctx, uri...)
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: a token never travels in the clear.
func (tokenFile) RequireTransportSecurity() bool { return true }

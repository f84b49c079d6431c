package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
)

const (
	probeTimeout = time.Second
	maxRedirects = 10
	maxProbeBody = 10 << 10 // as much as the kubelet reads
)

// prober asks the application what the kubelet would have asked. It connects from the address that the capture rules let pass, so that
// the application is reached directly and no policy applies.
type prober struct {
	address string
	dialer  net.Dialer
}

func newProber(address string) *prober {
	source := wire.InboundSourceV4
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() {
		source = wire.InboundSourceV6
	}
	return &prober{address: address, dialer: net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}}
}

func (p *prober) serve(w http.ResponseWriter, r *http.Request, probe wire.AppProbe) {
	timeout := time.Duration(probe.TimeoutSeconds) * time.Second
	if timeout == 0 && strings.HasPrefix(r.URL.Path, wire.PathAppHealth) {
		timeout = probeTimeout
	}
	ctx := r.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var err error
	switch {
	case probe.HTTPGet != nil:
		err = p.http(ctx, w, r, probe.HTTPGet)
	case probe.TCPSocket != nil:
		err = p.tcp(ctx, probe.TCPSocket)
	case probe.GRPC != nil:
		err = p.grpc(ctx, probe.GRPC)
	default:
		err = errors.New("nothing is registered for this path")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

func (p *prober) host(host string) string {
	if host == "" {
		return p.address
	}
	return host
}

// http forwards the kubelet's question and gives the application's status and body back.
func (p *prober) http(ctx context.Context, w http.ResponseWriter, r *http.Request, probe *wire.AppHTTPProbe) error {
	scheme := "http"
	if strings.EqualFold(probe.Scheme, "https") {
		scheme = "https"
	}
	url := scheme + "://" + join(p.host(probe.Host), probe.Port) + "/" + strings.TrimPrefix(probe.Path, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("probing the application: %w", err)
	}
	request.Header = r.Header.Clone()
	for _, h := range probe.Headers {
		if strings.EqualFold(h.Name, "Host") {
			request.Host = h.Value
			continue
		}
		request.Header.Set(h.Name, h.Value)
	}
	response, err := p.client().Do(request)
	if err != nil {
		return fmt.Errorf("probing the application: %w", err)
	}
	defer response.Body.Close()
	status := response.StatusCode
	if status >= 300 && status < 400 { // to elsewhere: the kubelet counts that as success and would not follow either
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, err = io.CopyN(w, response.Body, maxProbeBody)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil // the status is what counts, and it is out
	}
	return nil
}

// client follows redirects as the kubelet does: within the host.
func (p *prober) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: p.dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // as the kubelet's probes
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Hostname() != via[0].URL.Hostname() || len(via) >= maxRedirects {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

func (p *prober) tcp(ctx context.Context, probe *wire.AppTCPProbe) error {
	conn, err := p.dialer.DialContext(ctx, "tcp", join(p.host(probe.Host), probe.Port))
	if err != nil {
		return fmt.Errorf("probing the application: %w", err)
	}
	return conn.Close()
}

// grpc asks grpc.health.v1.Health/Check. The two messages are a string and an enumeration, written and read here by hand, so that
// this package needs no protocol library.
func (p *prober) grpc(ctx context.Context, probe *wire.AppGRPCProbe) error {
	message := []byte{}
	if probe.Service != "" {
		message = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(probe.Service))), probe.Service...)
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	url := "http://" + join(p.address, probe.Port) + "/grpc.health.v1.Health/Check"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(frame))
	if err != nil {
		return fmt.Errorf("probing the application: %w", err)
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{DialContext: p.dialer.DialContext, Protocols: protocols, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("probing the application: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProbeBody))
	if err != nil {
		return fmt.Errorf("probing the application: %w", err)
	}
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		status = response.Header.Get("Grpc-Status")
	}
	if status != "0" {
		return fmt.Errorf("probing the application: gRPC status %q", status)
	}
	if !serving(body) {
		return errors.New("probing the application: it says that it is not serving")
	}
	return nil
}

// serving reads HealthCheckResponse: SERVING is 1 in field 1.
func serving(frame []byte) bool {
	return len(frame) >= 7 && frame[0] == 0 && frame[5] == 1<<3 && frame[6] == 1
}

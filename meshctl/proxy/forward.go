// Package proxy asks proxies and control planes what they know, through port-forwards to their loopback ports, and makes tables of
// the answers. Apart from a proxy's log level it changes nothing.
package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Limits of one question.
const (
	patience  = 20 * time.Second
	maxAnswer = 64 << 20
)

// Asker asks a pod's loopback port over HTTP.
type Asker interface {
	Ask(ctx context.Context, namespace, pod string, port int, method, path string) ([]byte, error)
}

// Forwarder is an Asker by port-forward.
type Forwarder struct {
	config *rest.Config
	kube   kubernetes.Interface
}

// NewForwarder returns a Forwarder.
func NewForwarder(config *rest.Config, kube kubernetes.Interface) *Forwarder {
	return &Forwarder{config: config, kube: kube}
}

// Ask implements Asker.
func (f *Forwarder) Ask(ctx context.Context, namespace, pod string, port int, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	local, err := f.open(ctx, namespace, pod, port)
	if err != nil {
		return nil, fmt.Errorf("forwarding port %d of pod %s/%s: %w", port, namespace, pod, err)
	}
	request, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d%s", local, path), nil)
	if err != nil {
		return nil, fmt.Errorf("asking pod %s/%s: %w", namespace, pod, err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking pod %s/%s: %w", namespace, pod, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of pod %s/%s: %w", namespace, pod, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("pod %s/%s answers %s: %s", namespace, pod, response.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// open forwards a port for as long as ctx lasts and returns the local one.
func (f *Forwarder) open(ctx context.Context, namespace, pod string, port int) (uint16, error) {
	dialer, err := f.dialer(namespace, pod)
	if err != nil {
		return 0, err
	}
	ready, said := make(chan struct{}), &bytes.Buffer{}
	forward, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ready, io.Discard, said)
	if err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- forward.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		if err == nil {
			err = errors.New("it ended before it began")
		}
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	ports, err := forward.GetPorts()
	if err != nil {
		return 0, err
	}
	return ports[0].Local, nil
}

// dialer prefers WebSockets and falls back to SPDY, for older API servers.
func (f *Forwarder) dialer(namespace, pod string) (httpstream.Dialer, error) {
	url := f.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(f.config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	sockets, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, f.config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(sockets, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

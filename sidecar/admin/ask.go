package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Probe asks the application what the kubelet would ask, and returns why that would be a failure. Address is where the application is that names no host.
// What limits the time is ctx.
func Probe(ctx context.Context, address string, probe wire.AppProbe) error {
	probe.TimeoutSeconds = 0
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return fmt.Errorf("probing the application: %w", err)
	}
	v := &verdict{header: http.Header{}}
	newProber(address).serve(v, request, probe)
	if v.status != 0 && (v.status < http.StatusOK || v.status >= http.StatusBadRequest) {
		return fmt.Errorf("status %d: %s", v.status, strings.TrimSpace(v.body.String()))
	}
	return nil
}

// verdict keeps what a prober answers.
type verdict struct {
	header http.Header
	status int
	body   strings.Builder
}

// maxVerdict bounds what is kept of an answer, in bytes.
const maxVerdict = 256

// Header implements http.ResponseWriter.
func (v *verdict) Header() http.Header { return v.header }

// WriteHeader implements http.ResponseWriter.
func (v *verdict) WriteHeader(status int) { v.status = status }

// Write implements http.ResponseWriter.
func (v *verdict) Write(data []byte) (int, error) {
	v.body.Write(data[:min(len(data), max(0, maxVerdict-v.body.Len()))])
	return len(data), nil
}

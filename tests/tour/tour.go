// Package tour shows, on a running cluster with Heddle and the sample shop, what Heddle claims: each claim is a command and the evidence
// seen, and each can fail. It changes nothing outside the demo's own namespaces.
package tour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Namespaces of the demo.
const (
	ShopNamespace    = "shop"            // injected
	PlainNamespace   = "plain"           // not injected
	GatewayNamespace = "heddle-gateways" // ingress and egress gateways
)

// Claim is one thing that Heddle says of itself.
type Claim struct {
	Number int
	Text   string
	Show   func(ctx context.Context, s *Stage) error
}

// NotShown is the error of a claim that this cluster cannot show.
type NotShown struct{ Reason string }

func (n NotShown) Error() string { return n.Reason }

// Result counts what became of the claims.
type Result struct{ Held, Failed, NotShown int }

// Stage is where a claim is shown: the cluster, and what has been seen so far.
type Stage struct {
	*Cluster
	out io.Writer
}

// Ran prints a command that was run.
func (s *Stage) Ran(format string, args ...any) {
	fmt.Fprintf(s.out, "     $ %s\n", fmt.Sprintf(format, args...))
}

// Saw prints a piece of evidence.
func (s *Stage) Saw(format string, args ...any) {
	text := strings.ReplaceAll(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n", "\n       ")
	fmt.Fprintf(s.out, "       %s\n", text)
}

// Claims returns the tour in its order.
func Claims() []Claim {
	return []Claim{
		{1, "Pods in the labelled namespace have the sidecar, others have not; a Job completes.", sidecars},
		{2, "Each side of a call knows the other's SPIFFE identity; nothing readable crosses the wire; an impostor is refused.", identities},
		{3, "STRICT refuses a plaintext client, PERMISSIVE serves it.", strict},
		{4, "A header rule sends one user to catalog v2, all others to v1.", headerRule},
		{5, "A 90/10 canary splits 1,000 requests 90/10; moved to 0/100 under load, nothing fails.", canary},
		{6, "A TCP rule splits connections 80/20.", tcpSplit},
		{7, "Two ingress gateways keep two hosts apart, by SNI, by Host, and over a reused HTTP/2 connection.", ingress},
		{8, "What cannot leave the cluster leaves through the egress gateway: HTTP, HTTPS by SNI, TLS originated by the gateway.", egress},
		{9, "An AuthorizationPolicy lets only the storefront read the catalog.", authorization},
		{10, "A timeout, retries and a fault, in the responses and in the metrics.", resilience},
		{11, "With the control plane gone for a minute, while a certificate falls due, nothing fails, and a change that it held up arrives after it is back.", survival},
		{12, "The counters of both sides equal the client's own count.", counters},
	}
}

// claimLimit is how long one claim may take.
const claimLimit = 5 * time.Minute

// Run shows the claims and prints what came of each. It stops only when ctx ends.
func Run(ctx context.Context, c *Cluster, claims []Claim, out io.Writer) Result {
	var r Result
	for _, claim := range claims {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(out, "\n%2d  %s\n", claim.Number, claim.Text)
		start := time.Now()
		limit, cancel := context.WithTimeout(ctx, claimLimit)
		err := claim.Show(limit, &Stage{Cluster: c, out: out})
		cancel()
		took := time.Since(start).Round(100 * time.Millisecond)
		var not NotShown
		switch {
		case err == nil:
			r.Held++
			fmt.Fprintf(out, "     holds (%v)\n", took)
		case errors.As(err, &not):
			r.NotShown++
			fmt.Fprintf(out, "     not shown: %s\n", not.Reason)
		default:
			r.Failed++
			fmt.Fprintf(out, "     DOES NOT HOLD (%v): %v\n", took, err)
		}
	}
	return r
}

// eventually calls f until it returns nil or limit passes; then it returns f's last error.
func eventually(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", limit, err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

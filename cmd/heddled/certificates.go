package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/bundle"
	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/ca/server"
	"github.com/heddle-mesh/heddle/internal/observe"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/internal/spiffe"
)

// How long, and how often, to try to read or make the root at the start.
const (
	rootPatience = time.Minute
	rootRetry    = 2 * time.Second
)

// servingTTL is the life of the control plane's own certificate.
const servingTTL = 24 * time.Hour

// certificates is the certificate authority, assembled.
type certificates struct {
	attestor  *attest.Attestor
	server    *server.Server
	serving   *server.Serving
	publisher *bundle.Publisher
}

func newCertificates(ctx context.Context, c config, cl *cluster, log *slog.Logger, metrics *observe.Metrics) (*certificates, error) {
	root, err := ensureRoot(ctx, c, cl, log)
	if err != nil {
		return nil, err
	}
	out, err := issuing(c, root, log, metrics, attest.Config{Reviewer: cl.kube.AuthenticationV1().TokenReviews(), Audience: c.audience, TrustDomain: c.trustDomain, Aliases: c.aliases,
		Cached: cl.cachedPod, Live: cl.livePod})
	if err != nil {
		return nil, err
	}
	out.publisher = bundle.New(bundle.Config{Cache: cl.cache, Writer: cl.writer, App: revision.Name(bundle.WebhookLabelValue, c.revision),
		WebhooksOnly: !revision.IsDefault(c.revision), Bundle: root.BundlePEM, Log: log.With("part", "bundle")})
	return out, nil
}

// issuing is what signs with a root for those whom the attestor believes.
func issuing(c config, root *authority.Authority, log *slog.Logger, metrics *observe.Metrics, who attest.Config) (*certificates, error) {
	service := revision.Name(wire.DiscoveryService, c.revision)
	self, err := spiffe.New(c.trustDomain, c.namespace, service)
	if err != nil {
		return nil, fmt.Errorf("naming the control plane: %w", err)
	}
	names := append(server.ServiceNames(service, c.namespace, c.domain), c.files.names...)
	out := &certificates{attestor: attest.New(who), serving: server.NewServing(root, self, names, servingTTL, time.Now)}
	policy := issue.DefaultPolicy()
	policy.DefaultTTL, policy.MaxTTL = c.certTTL, c.maxCertTTL
	out.server, err = server.New(server.Config{Authority: root, Attest: out.attestor.Attest, Policy: policy, Meter: metrics.Meter("ca"), Log: log.With("part", "ca")})
	if err != nil {
		return nil, fmt.Errorf("making the certificate authority: %w", err)
	}
	return out, nil
}

// domains are the trust domain and its aliases. What is no trust domain among these, no root is of; pilot reports it with the mesh's settings.
func (c config) domains() (own spiffeid.TrustDomain, aliases []spiffeid.TrustDomain, err error) {
	if own, err = spiffeid.TrustDomainFromString(c.trustDomain); err != nil {
		return own, nil, fmt.Errorf("reading the trust domain: %w", err)
	}
	for _, name := range c.aliases {
		if alias, err := spiffeid.TrustDomainFromString(name); err == nil {
			aliases = append(aliases, alias)
		}
	}
	return own, aliases, nil
}

// ensureRoot reads the root or makes it. It tries again where the API server does not answer, and gives up where the answer is no.
func ensureRoot(ctx context.Context, c config, cl *cluster, log *slog.Logger) (*authority.Authority, error) {
	domain, aliases, err := c.domains()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, rootPatience)
	defer cancel()
	for {
		root, err := authority.Ensure(ctx, cl.kube.CoreV1().Secrets(c.namespace), domain, time.Now(), func(ctx context.Context) error {
			return authority.CheckCluster(ctx, cl.kube)
		}, aliases...)
		if err == nil {
			return root, nil
		}
		if errors.Is(err, authority.ErrForeignProxies) {
			return nil, err
		}
		log.Warn("the root is not to be had yet", "err", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(rootRetry):
		}
	}
}

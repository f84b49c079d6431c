package publish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/generate/upstream"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// SecretSource reads Secrets that gateways need.
type SecretSource interface {
	// Get returns a Secret of the cluster, or an error where it is unreadable or may not be read, or, where it is missing, model.ErrNoSecret.
	Get(ctx context.Context, namespace, name string) (model.Secret, error)
	// OnChange registers what is to be called, from any goroutine, after a Secret changed or went. It is called once, before Get.
	OnChange(func(namespace, name string))
}

const (
	mayReadFor    = time.Minute      // how long a permission of an account counts
	deniedFor     = 10 * time.Second // how long a denial does: a gateway that is given the right soon shows its certificate
	mayReadWithin = 5 * time.Second  // how long asking may take
)

// secretGate decides who gets which Secret.
type secretGate struct {
	options Options

	mu      sync.Mutex
	granted map[grant]decision
}

// grant is an account and the namespace whose Secrets it may or may not read.
type grant struct {
	account   model.Name
	namespace string
}

type decision struct {
	allowed bool
	until   time.Time
}

func newSecretGate(o Options) *secretGate {
	return &secretGate{options: o, granted: map[grant]decision{}}
}

// WatchSecrets tells gateways of Secrets that change. It is called once, before Run.
func (p *Publisher) WatchSecrets() {
	if p.options.Secrets != nil {
		p.options.Secrets.OnChange(p.secretChanged)
	}
}

func (p *Publisher) secretChanged(namespace, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.clients {
		for _, changed := range slices.Compact([]string{name, strings.TrimSuffix(name, wire.CACertSuffix)}) {
			if c.caller.Namespace == namespace && c.state.Load().names(changed) {
				c.enqueue(secretChanges(changed))
			}
			if elsewhere := namespace + "/" + changed; c.state.Load().names(elsewhere) {
				c.enqueue(secretChanges(elsewhere))
			}
		}
	}
}

func secretChanges(name string) discovery.Changes {
	return discovery.Changes{wire.TypeSecret: map[string]bool{
		wire.SecretPrefix + name: true, wire.SecretPrefix + name + wire.CACertSuffix: true,
	}}
}

// reviewSecrets has gateways ask again for what they may have been denied.
func (p *Publisher) reviewSecrets() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.clients {
		s := c.state.Load()
		for _, name := range slices.Concat(s.own.Secrets, s.outer.Secrets) {
			c.enqueue(secretChanges(name))
		}
	}
}

// names reports whether the proxy's configuration refers to a Secret.
func (s *state) names(secret string) bool {
	return slices.Contains(s.own.Secrets, secret) || slices.Contains(s.outer.Secrets, secret)
}

// files says where a foreign proxy finds its own certificate, or the mesh's roots, on its disk. Proxies of ours hold these themselves.
func (c *client) files(resource string) *wire.Resource {
	folder := cmp.Or(c.node.Certificates, wire.AgentPath)
	switch {
	case c.node.Dialect != 0 || !path.IsAbs(folder):
		return nil
	case resource == wire.SecretRoot:
		return upstream.OwnRoots(path.Clean(folder))
	}
	return upstream.OwnCertificate(path.Clean(folder))
}

// secret returns an SDS resource, where the proxy's configuration refers to it and its account may read the Secrets of the namespace. Roots are
// public within their namespace, as in Istio.
func (s *state) secret(ctx context.Context, resource string) *wire.Resource {
	gate, c := s.publisher.secrets, s.client
	if resource == wire.SecretWorkload || resource == wire.SecretRoot {
		return c.files(resource)
	}
	named, ca, ok := naming.SecretName(resource)
	if !ok || gate.options.Secrets == nil || !s.names(named) {
		return nil
	}
	namespace, name, elsewhere := strings.Cut(named, "/")
	if !elsewhere {
		namespace, name = c.caller.Namespace, named
	}
	log := gate.options.Log.With("secret", namespace+"/"+name, "proxy", c.node.ID)
	mayRead := func() bool {
		account := model.Name{Namespace: c.caller.Namespace, Name: c.caller.Identity.ServiceAccount}
		allowed, err := gate.mayRead(ctx, grant{account, namespace})
		if !allowed || err != nil {
			log.Warn("secret is not sent: the proxy's account may not read the Secrets of the namespace", "account", account.String(), "error", err)
		}
		return allowed && err == nil
	}
	public := ca && !elsewhere
	if !public && !mayRead() {
		return nil
	}
	out, err := gate.read(ctx, namespace, name, resource, ca)
	if err != nil {
		log.Warn("secret is not sent; an older one stays", "error", err)
		return nil
	}
	if public && bytes.Contains(out.Body, []byte("PRIVATE KEY")) && !mayRead() {
		return nil
	}
	return out
}

// mayRead asks whether an account may read the Secrets of a namespace, and remembers the answer for a while.
func (g *secretGate) mayRead(ctx context.Context, of grant) (bool, error) {
	g.mu.Lock()
	known, ok := g.granted[of]
	g.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.allowed, nil
	}
	if g.options.MayRead == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, mayReadWithin)
	defer cancel()
	allowed, err := g.options.MayRead(ctx, of.account, of.namespace)
	if err != nil {
		return false, fmt.Errorf("asking whether %s may read the Secrets of %s: %w", of.account, of.namespace, err)
	}
	counts := deniedFor
	if allowed {
		counts = mayReadFor
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.granted[of] = decision{allowed, time.Now().Add(counts)}
	return allowed, nil
}

// read makes the resource of a Secret's certificate, or of its roots.
func (g *secretGate) read(ctx context.Context, namespace, name, resource string, ca bool) (*wire.Resource, error) {
	if ca {
		secret, err := g.roots(ctx, namespace, name)
		if err != nil {
			return nil, fmt.Errorf("reading the CA for %s: %w", name, err)
		}
		return upstream.AuthoritySecret(resource, secret.CA, secret.CRL), nil
	}
	secret, err := g.options.Secrets.Get(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	pair, err := tls.X509KeyPair(secret.Certificate, secret.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %s: %w", name, err)
	}
	if len(secret.Staple) > 0 {
		if _, err := ocsp.ParseResponseForCert(secret.Staple, pair.Leaf, nil); err != nil {
			return nil, fmt.Errorf("reading the OCSP response (tls.ocsp-staple) of %s: %w", name, err)
		}
	}
	return upstream.CertificateSecret(resource, secret), nil
}

// roots reads the Secret with the roots that go with another: one of their own, where there is one, or else the other itself.
func (g *secretGate) roots(ctx context.Context, namespace, name string) (model.Secret, error) {
	secret, err := g.options.Secrets.Get(ctx, namespace, name+wire.CACertSuffix)
	if errors.Is(err, model.ErrNoSecret) {
		secret, err = g.options.Secrets.Get(ctx, namespace, name)
	}
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(secret.CA) {
		err = errors.New("no certificate in it")
	}
	return secret, err
}

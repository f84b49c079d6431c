package interop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/ca/issue"
	"github.com/heddle-mesh/heddle/ca/server"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/publish"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
	"github.com/heddle-mesh/heddle/sidecar/agent"
	"github.com/heddle-mesh/heddle/sidecar/identity"
)

// plane is the control plane, of its real parts, with a text of YAML for a cluster. Tokens are "namespace/pod".
type plane struct {
	t       *testing.T
	in      *inputs.Inputs
	secrets map[string]model.Secret // by namespace/name
	server  *grpc.Server
	local   string // host:port on this machine's loopback
	ads     *discovery.Server
	roots   string // file
}

// newPlane serves the mesh that text describes on this machine's loopback; serve adds listeners elsewhere.
func newPlane(t *testing.T, text []byte, secrets map[string]model.Secret) *plane {
	t.Helper()
	in, err := source.FromYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	domain := spiffeid.RequireTrustDomainFromString(wire.DefaultTrustDomain)
	generated, err := authority.Generate(domain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	root, err := authority.Parse(generated, domain)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, in: in, secrets: secrets, roots: filepath.Join(t.TempDir(), wire.RootConfigMapKey)}
	if err := os.WriteFile(p.roots, root.BundlePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := spiffe.New(wire.DefaultTrustDomain, wire.SystemNamespace, wire.DiscoveryService)
	if err != nil {
		t.Fatal(err)
	}
	names := append(server.ServiceNames(wire.DiscoveryService, wire.SystemNamespace, wire.DefaultClusterDomain), "localhost") // which gRPC asks for
	serving := server.NewServing(root, self, names, time.Hour, time.Now)
	p.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(serving.DiscoveryTLS())))
	attestor := attest.New(attest.Config{Reviewer: p, Audience: wire.TokenAudience, TrustDomain: wire.DefaultTrustDomain, Cached: p.pod, Live: p.pod})
	quiet, meter := slog.New(slog.DiscardHandler), noop.NewMeterProvider().Meter("interop")
	ca, err := server.New(server.Config{Authority: root, Attest: attestor.Attest, Policy: issue.DefaultPolicy(), Meter: meter, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ca.Register(p.server)
	p.publish(attestor, p.server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.local = l.Addr().String()
	p.serve(l)
	t.Cleanup(p.server.Stop)
	return p
}

func (p *plane) serve(l net.Listener) { go func() { _ = p.server.Serve(l) }() }

// publish serves what the objects mean.
func (p *plane) publish(attestor *attest.Attestor, to grpc.ServiceRegistrar) {
	p.t.Helper()
	quiet, meter := slog.New(slog.DiscardHandler), noop.NewMeterProvider().Meter("interop")
	publisher, err := publish.New(publish.Options{Log: quiet, Meter: meter, Secrets: p, MayRead: func(context.Context, string, string) (bool, error) { return true, nil }})
	if err != nil {
		p.t.Fatal(err)
	}
	snapshot, report := translate.Translate(p.in, nil)
	for _, e := range report.Entries {
		if len(e.Issues) > 0 {
			p.t.Errorf("%s", e)
		}
	}
	endpoints, workloads := translate.Endpoints(p.in, nil)
	publisher.SetSnapshot(snapshot)
	publisher.SetEndpoints(endpoints)
	publisher.SetWorkloads(workloads)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- publisher.Run(ctx) }()
	p.t.Cleanup(func() { stop(); <-done })
	p.ads, err = discovery.New(discovery.Options{Registry: publisher, Log: quiet, Meter: meter, Authenticate: func(ctx context.Context, claimed string) (discovery.Caller, error) {
		proof := attest.FromContext(ctx)
		proof.ClaimedPod = claimed
		caller, err := attestor.Attest(ctx, proof)
		return discovery.Caller{Identity: caller.Identity, Namespace: caller.Namespace, Pod: caller.PodName}, err
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.ads.Register(to)
}

// pod finds a pod of the text: an attest.Pods.
func (p *plane) pod(_ context.Context, namespace, name string) (*core.Pod, error) {
	for _, pod := range p.in.Pods {
		if pod.Namespace == namespace && pod.Name == name {
			return pod, nil
		}
	}
	return nil, apierrors.NewNotFound(core.Resource("pods"), name)
}

// Create reviews a token: an attest.Reviewer.
func (p *plane) Create(ctx context.Context, review *authentication.TokenReview, _ meta.CreateOptions) (*authentication.TokenReview, error) {
	namespace, name, _ := strings.Cut(review.Spec.Token, "/")
	pod, err := p.pod(ctx, namespace, name)
	out := review.DeepCopy()
	if err != nil {
		out.Status = authentication.TokenReviewStatus{Error: "no such token"}
		return out, nil
	}
	out.Status = authentication.TokenReviewStatus{Authenticated: true, Audiences: review.Spec.Audiences, User: authentication.UserInfo{
		Username: "system:serviceaccount:" + namespace + ":" + pod.Spec.ServiceAccountName,
		Extra: map[string]authentication.ExtraValue{"authentication.kubernetes.io/pod-name": {name},
			"authentication.kubernetes.io/pod-uid": {string(pod.UID)}},
	}}
	return out, nil
}

// Get implements publish.SecretSource.
func (p *plane) Get(_ context.Context, namespace, name string) (model.Secret, error) {
	s, ok := p.secrets[namespace+"/"+name]
	if !ok {
		return s, errors.New("not found")
	}
	return s, nil
}

// OnChange implements publish.SecretSource.
func (*plane) OnChange(func(namespace, name string)) {}

// token is a file with a pod's token.
func (p *plane) token(namespace, pod string) string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(namespace+"/"+pod), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// agent runs the agent for a pod and returns its folder once that has a certificate.
func (p *plane) agent(namespace, name string) string {
	p.t.Helper()
	pod, err := p.pod(p.t.Context(), namespace, name)
	if err != nil {
		p.t.Fatal(err)
	}
	expected, err := spiffe.New(wire.DefaultTrustDomain, namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		p.t.Fatal(err)
	}
	dir := p.t.TempDir()
	folder, err := agent.New(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	roots := identity.NewRoots(p.roots)
	w := identity.New(identity.Options{Expected: expected, TTL: time.Hour, Roots: roots, Log: slog.New(slog.DiscardHandler), Export: folder.Write,
		Authority: identity.RemoteAuthority{ControlPlane: identity.ControlPlane{Address: p.local, TokenPath: p.token(namespace, name), Roots: roots}}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	p.t.Cleanup(func() { stop(); <-done })
	select {
	case <-w.Ready():
	case <-time.After(settleWithin):
		p.t.Fatalf("no certificate for %s/%s", namespace, name)
	}
	return dir
}

// refusals are what connected proxies refused.
func (p *plane) refusals() []string {
	var out []string
	for _, c := range p.ads.Clients() {
		for typ, st := range c.Types {
			if st.Refused > 0 {
				out = append(out, fmt.Sprintf("%s refused %s: %s", c.Pod, typ, st.Error))
			}
		}
	}
	return out
}

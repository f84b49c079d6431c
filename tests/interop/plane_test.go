package interop

import (
	"context"
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
	"google.golang.org/grpc/keepalive"
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
	"github.com/heddle-mesh/heddle/tests/internal/envoy"
)

// plane is the control plane, of its real parts. Where a text of YAML stands for the cluster, tokens are "namespace/pod".
type plane struct {
	t         *testing.T
	in        *inputs.Inputs
	secrets   map[string]model.Secret // by namespace/name
	server    *grpc.Server
	local     string // host:port on this machine's loopback
	ads       *discovery.Server
	publisher *publish.Publisher
	roots     string            // file
	tokens    map[string]string // by namespace/pod; nil: the key itself
}

var trustDomain = spiffeid.RequireTrustDomainFromString(wire.DefaultTrustDomain)

// newPlane serves the mesh that text describes on this machine's loopback; serve adds listeners elsewhere.
func newPlane(t *testing.T, text []byte, secrets map[string]model.Secret) *plane {
	t.Helper()
	in, err := source.FromYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	generated, err := authority.Generate(trustDomain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	root, err := authority.Parse(generated, trustDomain)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, in: in, secrets: secrets}
	p.assemble(root, attest.Config{Reviewer: p, Cached: p.pod, Live: p.pod}, p)
	snapshot, report := translate.Translate(p.in, nil)
	for _, e := range report.Entries {
		if len(e.Issues) > 0 {
			p.t.Errorf("%s", e)
		}
	}
	endpoints, workloads := translate.Endpoints(p.in, nil)
	p.publisher.SetSnapshot(snapshot)
	p.publisher.SetEndpoints(endpoints)
	p.publisher.SetWorkloads(workloads)
	return p
}

// assemble makes a CA of root, for those whom the attestor believes, and a publisher that knows nothing yet, and serves both.
func (p *plane) assemble(root *authority.Authority, who attest.Config, secrets publish.SecretSource) {
	p.t.Helper()
	p.roots = filepath.Join(p.t.TempDir(), wire.RootConfigMapKey)
	if err := os.WriteFile(p.roots, root.BundlePEM(), 0o600); err != nil {
		p.t.Fatal(err)
	}
	self, err := spiffe.New(wire.DefaultTrustDomain, wire.SystemNamespace, wire.DiscoveryService)
	if err != nil {
		p.t.Fatal(err)
	}
	names := append(server.ServiceNames(wire.DiscoveryService, wire.SystemNamespace, wire.DefaultClusterDomain), "localhost")  // which gRPC asks for
	pings := grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}) // heddled's
	p.server = grpc.NewServer(discovery.Encoding(), pings, grpc.Creds(credentials.NewTLS(server.NewServing(root, self, names, time.Hour, time.Now).DiscoveryTLS())))
	who.Audience, who.TrustDomain = wire.TokenAudience, wire.DefaultTrustDomain
	attestor := attest.New(who)
	quiet, meter := slog.New(slog.DiscardHandler), noop.NewMeterProvider().Meter("interop")
	ca, err := server.New(server.Config{Authority: root, Attest: attestor.Attest, Policy: issue.DefaultPolicy(), Meter: meter, Log: quiet})
	if err != nil {
		p.t.Fatal(err)
	}
	ca.Register(p.server)
	p.publisher, err = publish.New(publish.Options{Log: quiet, Meter: meter, Secrets: secrets, MayRead: func(context.Context, model.Name, string) (bool, error) { return true, nil }})
	if err != nil {
		p.t.Fatal(err)
	}
	p.background(p.publisher.Run)
	p.ads, err = discovery.New(discovery.Options{Registry: p.publisher, Log: quiet, Meter: meter, Authenticate: func(ctx context.Context, claimed string) (discovery.Caller, error) {
		proof := attest.FromContext(ctx)
		proof.ClaimedPod = claimed
		caller, err := attestor.Attest(ctx, proof)
		return discovery.Caller{Identity: caller.Identity, Namespace: caller.Namespace, Pod: caller.PodName}, err
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.ads.Register(p.server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	p.local = l.Addr().String()
	p.serve(l)
	p.t.Cleanup(p.server.Stop)
}

func (p *plane) serve(l net.Listener) { go func() { _ = p.server.Serve(l) }() }

// background runs a part of the control plane until the test ends.
func (p *plane) background(run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	p.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
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
		return s, model.ErrNoSecret
	}
	return s, nil
}

// OnChange implements publish.SecretSource.
func (*plane) OnChange(func(namespace, name string)) {}

// token is a file with a pod's token.
func (p *plane) token(namespace, pod string) string {
	p.t.Helper()
	path, token := filepath.Join(p.t.TempDir(), "token"), namespace+"/"+pod
	if p.tokens != nil {
		token = p.tokens[token]
	}
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
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
	p.background(w.Run)
	select {
	case <-w.Ready():
	case <-time.After(settleWithin):
		p.t.Fatalf("no certificate for %s/%s", namespace, name)
	}
	return dir
}

// envoyTLS is how an Envoy proves itself to the control plane by its agent's files.
func (*plane) envoyTLS(dir string) *envoy.TLS {
	return &envoy.TLS{Certificate: filepath.Join(dir, wire.FileChain), Key: filepath.Join(dir, wire.FileKey), Roots: filepath.Join(dir, wire.FileRoots),
		Name: wire.DiscoveryService + "." + wire.SystemNamespace + ".svc"}
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

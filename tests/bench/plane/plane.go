// Package plane is Heddle's control plane of its real parts, for what is measured: it translates a mesh in YAML, serves ADS on a unix socket
// to whoever is given that, and signs certificates. It believes everybody: nobody else reaches the socket. It starts no proxy.
package plane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/publish"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// Namespace is where all that is measured lives. An account has the name of its pod.
const Namespace = "bench"

// Plane is a running control plane.
type Plane struct {
	dir       string
	root      *authority.Authority
	edits     *edits
	publisher *publish.Publisher
	ads       *discovery.Server
	stop      context.CancelFunc
	servers   *grpc.Server
	signer    *signer
	mesh      *translate.Memo
	endpoints *translate.EndpointMemo
}

// New starts a control plane that knows no mesh yet. Its files are gone once it is closed.
func New() (*Plane, error) {
	dir, err := os.MkdirTemp("", "heddle-bench-")
	if err != nil {
		return nil, err
	}
	p := &Plane{dir: dir, edits: &edits{of: map[string][]edit{}}, mesh: translate.NewMemo(), endpoints: translate.NewEndpointMemo()}
	if err := p.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, nil
}

func (p *Plane) start() error {
	if err := p.authority(); err != nil {
		return fmt.Errorf("making a CA: %w", err)
	}
	quiet, meter := slog.New(slog.DiscardHandler), noop.NewMeterProvider().Meter("bench")
	var err error
	if p.publisher, err = publish.New(publish.Options{Log: quiet, Meter: meter}); err != nil {
		return err
	}
	p.edits.Registry = p.publisher
	p.ads, err = discovery.New(discovery.Options{Registry: p.edits, Log: quiet, Meter: meter, Authenticate: func(_ context.Context, pod string) (discovery.Caller, error) {
		id, err := identityOf(pod)
		return discovery.Caller{Identity: id, Namespace: Namespace, Pod: pod}, err
	}})
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", p.Socket())
	if err != nil {
		return err
	}
	if p.signer, err = newSigner(p.SigningSocket(), p.root); err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.servers = stop, grpc.NewServer()
	p.ads.Register(p.servers)
	go func() { _ = p.publisher.Run(ctx) }() // it ends with ctx
	go func() { _ = p.servers.Serve(l) }()
	return nil
}

func (p *Plane) authority() error {
	domain, err := spiffeid.TrustDomainFromString(wire.DefaultTrustDomain)
	if err != nil {
		return err
	}
	generated, err := authority.Generate(domain, time.Now())
	if err != nil {
		return err
	}
	if p.root, err = authority.Parse(generated, domain); err != nil {
		return err
	}
	return os.WriteFile(p.Roots(), p.root.BundlePEM(), 0o600)
}

func identityOf(account string) (spiffe.Identity, error) {
	return spiffe.New(wire.DefaultTrustDomain, Namespace, account)
}

// Socket is where ADS is served.
func (p *Plane) Socket() string { return filepath.Join(p.dir, "ads.sock") }

// SigningSocket is where certificate requests are signed: POST /<account>, over HTTP.
func (p *Plane) SigningSocket() string { return filepath.Join(p.dir, "sign.sock") }

// Roots is the file with the trust anchors.
func (p *Plane) Roots() string { return filepath.Join(p.dir, wire.RootConfigMapKey) }

// Place says where a sidecar's listener binds, before that sidecar connects. Its other listeners are left out.
func (p *Plane) Place(pod string, at Place) { p.edits.put(pod, at.move) }

// Limit has the proxy of a pod count each request against a local rate limit, which no object of the mesh sets. It is said before that proxy connects.
func (p *Plane) Limit(pod string) { p.edits.put(pod, limited) }

// Read reads a mesh.
func Read(yaml string) (*inputs.Inputs, error) { return source.FromYAML([]byte(yaml)) }

// Show tells the proxies a mesh. What cannot be translated as it stands is an error.
func (p *Plane) Show(in *inputs.Inputs) error {
	snapshot, report := translate.Translate(in, p.mesh)
	var problems []string
	for _, e := range report.Entries {
		if len(e.Issues) > 0 {
			problems = append(problems, e.String())
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("the mesh is not as it should be: %s", strings.Join(problems, "; "))
	}
	endpoints, workloads := translate.Endpoints(in, p.endpoints)
	p.publisher.SetSnapshot(snapshot)
	p.publisher.SetEndpoints(endpoints)
	p.publisher.SetWorkloads(workloads)
	return nil
}

// Admits says whether a pod's proxy of a role will be told anything.
func (p *Plane) Admits(ctx context.Context, role, pod string) error {
	id, err := identityOf(pod)
	if err != nil {
		return err
	}
	sub, err := p.publisher.Subscribe(ctx, discovery.Caller{Identity: id, Namespace: Namespace, Pod: pod}, discovery.Node{Role: role, Pod: pod, Namespace: Namespace})
	if err != nil {
		return fmt.Errorf("admitting %s: %w", pod, err)
	}
	sub.Close()
	return nil
}

// Refusals are what proxies refused.
func (p *Plane) Refusals() error {
	var out []error
	for _, c := range p.ads.Clients() {
		for typ, st := range c.Types {
			if st.Refused > 0 {
				out = append(out, fmt.Errorf("%s refused %s: %s", c.Pod, typ, st.Error))
			}
		}
	}
	return errors.Join(out...)
}

// Close ends it.
func (p *Plane) Close() {
	p.servers.Stop()
	p.stop()
	p.signer.close()
	_ = os.RemoveAll(p.dir)
}

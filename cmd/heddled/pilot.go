package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/pilot/admission"
	"github.com/heddle-mesh/heddle/pilot/debug"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/distribution"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/publish"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	objectstatus "github.com/heddle-mesh/heddle/pilot/status"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// pollReady is how often readiness is looked at before it is reached.
const pollReady = 50 * time.Millisecond

// pilot is the way from the cluster's objects to proxies, assembled.
type pilot struct {
	source    func(context.Context) error
	secrets   func(context.Context) error
	publisher *publish.Publisher
	discovery *discovery.Server
	progress  *distribution.Tracker
	exchange  *objectstatus.Exchange // nil without a cluster
	status    *objectstatus.Writer   // likewise
	addresses *objectstatus.IngressWriter
	events    *objectstatus.EventWriter
	tell      func(report.Report) // what is wrong with objects
	machines  *machines           // nil without a cluster
	log       *slog.Logger
	tracer    trace.Tracer

	snapshot atomic.Pointer[model.Snapshot]
	checker  atomic.Pointer[translate.Checker]
	report   atomic.Pointer[report.Report]
	injects  atomic.Pointer[injects]
	entries  atomic.Pointer[[]*inputs.WorkloadEntry]
}

// newPilot needs of h all that is made before it.
func newPilot(h *heddled) (*pilot, error) {
	c, cl, log := h.config, h.cluster, h.log
	secrets := source.NewSecrets(cl.watches, log.With("part", "secrets"))
	m := newMachines(h)
	p, err := publishing(h, publish.Options{Secrets: secrets, MayRead: secrets.MayRead}, m)
	if err != nil {
		return nil, err
	}
	p.machines, m.pilot = m, p
	p.exchange = objectstatus.NewExchange(cl.kube, c.namespace, c.podName, p.progress, log.With("part", "status"))
	p.secrets, p.status = secrets.Run, objectstatus.New(cl.writer, p.exchange.Count, log.With("part", "status"))
	p.addresses, p.events = objectstatus.NewIngressWriter(cl.writer, log.With("part", "status")), objectstatus.NewEventWriter(cl.writer, log.With("part", "status"))
	p.tell = func(r report.Report) {
		p.status.Set(r)
		p.addresses.Set(r)
		p.events.Set(r)
	}
	p.source = source.New(source.Options{Cache: cl.cache, Kube: cl.watches, Mesh: c.mesh(),
		Snapshot: p.translator(), Endpoints: p.endpointer(), Log: log.With("part", "source")}).Run
	return p, nil
}

// mesh is the frame of the mesh's settings.
func (c config) mesh() inputs.Mesh {
	mesh := *source.DefaultMesh()
	mesh.Name = revision.Name(wire.MeshConfigMap, c.revision)
	mesh.Namespace, mesh.ClusterID, mesh.ClusterDomain, mesh.TrustDomain = c.namespace, c.clusterID, c.domain, c.trustDomain
	mesh.IstioLabels = c.proxy.istioLabels
	return mesh
}

// publishing is a pilot without a source.
func publishing(h *heddled, o publish.Options, m discovery.Machines) (*pilot, error) {
	log, metrics := h.log, h.metrics
	p := &pilot{log: log.With("part", "pilot"), tracer: h.traces.Tracer("pilot")}
	p.injects.Store(&injects{merge: true, allocate: true})
	p.report.Store(&report.Report{})
	p.checker.Store(translate.NewChecker())
	err := measureConflicts(metrics.Meter("pilot"), p.report.Load)
	if err != nil {
		return nil, err
	}
	o.Log, o.Meter = log.With("part", "publish"), metrics.Meter("publish")
	if p.publisher, err = publish.New(o); err != nil {
		return nil, fmt.Errorf("making the publisher: %w", err)
	}
	p.publisher.WatchSecrets()
	p.discovery, err = discovery.New(discovery.Options{Registry: p.publisher, Authenticate: authenticate(h.ca.attestor), Machines: m, Log: log.With("part", "discovery"), Meter: metrics.Meter("discovery")})
	if err != nil {
		return nil, fmt.Errorf("making the discovery server: %w", err)
	}
	p.progress = distribution.NewTracker(p.discovery.Progress)
	return p, nil
}

// translator makes a snapshot of what the source reads. It is called by one goroutine at a time.
func (p *pilot) translator() func(*inputs.Inputs) {
	memo, said := translate.NewMemo(), ""
	return func(in *inputs.Inputs) {
		_, span := p.tracer.Start(context.Background(), "translate", trace.WithAttributes(attribute.Int("services", len(in.Services))))
		defer span.End()
		snapshot, report := translate.Translate(in, memo)
		merge := in.Mesh.Config.GetEnablePrometheusMerge()
		p.injects.Store(injectsOf(snapshot, merge == nil || merge.GetValue()))
		p.snapshot.Store(snapshot)
		p.checker.Store(memo.Checker())
		p.report.Store(&report)
		p.progress.Observe(p.publisher.SetSnapshot(snapshot), report)
		p.tell(report)
		said = p.tellSettings(report, model.Name{Namespace: in.Mesh.Namespace, Name: cmp.Or(in.Mesh.Name, wire.MeshConfigMap)}, said)
	}
}

// tellSettings logs what is wrong with the mesh's settings, which have no status, when it is not what was said last. It returns what it said.
func (p *pilot) tellSettings(r report.Report, of model.Name, said string) string {
	e := r.Find(report.Ref{Kind: "ConfigMap", Namespace: of.Namespace, Name: of.Name})
	if e == nil || e.String() == said {
		return said
	}
	for _, issue := range e.Issues {
		p.log.Warn("a setting of the mesh is not in force", "configmap", of.Name, "setting", issue.Path, "reason", issue.Reason)
	}
	return e.String()
}

// endpointer is the endpoints' own lane, on a goroutine of its own.
func (p *pilot) endpointer() func(*inputs.Inputs) {
	memo := translate.NewEndpointMemo()
	return func(in *inputs.Inputs) {
		_, span := p.tracer.Start(context.Background(), "endpoints", trace.WithAttributes(attribute.Int("slices", len(in.EndpointSlices))))
		defer span.End()
		p.entries.Store(&in.WorkloadEntries)
		endpoints, workloads := translate.Endpoints(in, memo)
		p.publisher.SetWorkloads(workloads)
		p.publisher.SetEndpoints(endpoints)
	}
}

// check is what the validating webhook asks of the present mesh.
func (p *pilot) check() admission.Check { return p.checker.Load().Check }

// debug says what the mesh is and what proxies were told. It is read only.
func (p *pilot) debug() http.Handler {
	return debug.Handler(debug.Options{Publisher: p.publisher, Server: p.discovery, Report: func() report.Report { return *p.report.Load() }})
}

// components read, translate and publish. The last is ready once proxies can be told something.
func (p *pilot) components() []lifecycle.Component {
	ready := make(chan struct{})
	return []lifecycle.Component{
		{Name: "secrets", Run: p.secrets},
		{Name: "publish", Run: p.publisher.Run},
		{Name: "source", Ready: ready, Run: func(ctx context.Context) error {
			go func() {
				if p.untilSynced(ctx) {
					p.log.Info("ready to tell proxies")
					close(ready)
				}
			}()
			return p.source(ctx)
		}},
	}
}

func (p *pilot) untilSynced(ctx context.Context) bool {
	for !p.publisher.Synced() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pollReady):
		}
	}
	return true
}

// authenticate proves who opened a stream. Where the API server cannot be asked, the proxy is to come back.
func authenticate(attestor *attest.Attestor) discovery.Authenticate {
	return func(ctx context.Context, claimedPod string) (discovery.Caller, error) {
		proof := attest.FromContext(ctx)
		proof.ClaimedPod = claimedPod
		return callerOf(attestor.Attest(ctx, proof))
	}
}

// callerOf is a proven caller to discovery.
func callerOf(caller attest.Caller, err error) (discovery.Caller, error) {
	var refusal *attest.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return discovery.Caller{}, status.Error(codes.Unavailable, err.Error())
	}
	return discovery.Caller{Identity: caller.Identity, Namespace: caller.Namespace, Pod: caller.PodName, Machine: caller.Machine}, err
}

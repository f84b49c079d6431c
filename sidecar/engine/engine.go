// Package engine assembles the parts of a proxy, runs them and drains them. It introduces them to each other and keeps the
// configuration in force; it knows no roles (package role does), and no message or protocol from within.
package engine

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/admin"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/discovery"
	"github.com/heddle-mesh/heddle/sidecar/dns"
	"github.com/heddle-mesh/heddle/sidecar/dns/names"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/forward"
	"github.com/heddle-mesh/heddle/sidecar/http1"
	"github.com/heddle-mesh/heddle/sidecar/http2"
	"github.com/heddle-mesh/heddle/sidecar/identity"
	"github.com/heddle-mesh/heddle/sidecar/listener"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
	"github.com/heddle-mesh/heddle/sidecar/takeover"
	"github.com/heddle-mesh/heddle/sidecar/tcp"
	"github.com/heddle-mesh/heddle/sidecar/telemetry"
	"github.com/heddle-mesh/heddle/sidecar/telemetry/export"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// rebindEvery is how often a listener that could not be bound is tried again.
const rebindEvery = 2 * time.Second

// Options are what an Engine needs from outside.
type Options struct {
	Node     discovery.Node
	Identity *identity.Workload
	Dial     discovery.Dial // the control plane
	Gateway  bool           // the listeners are a gateway's
	Foreign  bool           // the control plane is not Heddle's
	// Drains are the directions that are told to finish when draining begins; the others go on until the end.
	Drains      []exchange.Direction
	Termination Termination
	App         admin.App
	Addresses   Addresses
	// Resolvers are the servers that names are looked up with: for clusters, and for the pod where DNS is set. None: as Go does.
	Resolvers []netip.AddrPort
	Search    string // the first domain of the pod's search path
	// DNS is where the pod's own questions are answered, over UDP and TCP. None: nowhere.
	DNS []netip.AddrPort
	// Environment is the process's: what spans may say of it. Nil: it has none.
	Environment func(name string) string
	// Takeover is the path where the sockets of the process before are, and this one's for the next; see package takeover. Empty: nowhere.
	Takeover  string
	AccessLog io.Writer
	Log       *slog.Logger
	Level     *slog.LevelVar
	Quit      func() // ends the process in an orderly way
}

// Addresses are where the engine answers questions.
type Addresses struct {
	Admin, Status, Ready, Prometheus string
}

// Termination is how the end goes about.
type Termination struct {
	// Alone says that the application has gone when the end comes: nothing of it is waited for.
	Alone bool
	// Ended returns true once the application beside has ended for good, false when ctx ends first. Nil: there is none.
	Ended func(ctx context.Context) bool
	Drain time.Duration // how long connections, or a silent application, may go on
	Grace time.Duration // when everything must have ended; 0: unknown
	// Restart is how long connections may go on once another process has taken over, in a pod that goes on; 0: Drain, within Grace.
	Restart time.Duration
}

// Engine is a proxy.
type Engine struct {
	options  Options
	recorder *telemetry.Recorder
	logs     *telemetry.AccessLogs
	spans    *telemetry.Spans
	upstream *upstream.Registry
	store    *config.Store
	manager  *listener.Manager
	client   *discovery.Client
	sink     *sink
	secrets  *mtls.Secrets
	registry *prometheus.Registry
	resolver *dns.Forwarder // nil: there are no Resolvers
	sockets  *takeover.Sockets
	pressure *pressure
	replaced atomic.Bool // another process has the sockets
	late     atomic.Bool // another process had them before this one served anybody
	drained  drainState
	finished atomic.Bool // the application has ended
	// dismissed: the application asks for nothing more
	dismissed atomic.Bool
}

// New assembles an engine.
func New(o Options) *Engine {
	e := &Engine{options: o, secrets: mtls.NewSecrets(), logs: telemetry.NewAccessLogs(o.AccessLog), spans: telemetry.NewSpans(),
		registry: prometheus.NewRegistry()}
	e.sockets, e.pressure = takeover.New(o.Log), newPressure(func() bool { return !e.busy() })
	peers := &peers{}
	e.recorder = telemetry.New(telemetry.Options{Peers: peers, Logs: e.logs, Spans: e.spans})
	codec := http2.NewCodec(http2.CodecOptions{Recorder: e.recorder, Log: o.Log, Overloaded: e.pressure.full.Load})
	var resolver upstream.Resolver
	if len(o.Resolvers) > 0 {
		e.resolver = dns.NewForwarder(o.Resolvers, &net.Dialer{})
		resolver = e.resolver.Resolver()
	}
	e.upstream = upstream.NewRegistry(upstream.Options{Resolver: resolver, HTTP1: http1.NewTransport, HTTP2: codec.Transport, Recovered: func(v any) {
		o.Log.Error("recovered from a panic while keeping clusters", "panic", v, "stack", string(debug.Stack()))
		e.recorder.Panicked()
	}})
	e.store = config.NewStore(e.upstream)
	proxy := forward.New(forward.Options{Recorder: e.recorder, Log: o.Log, Demands: demands{e}, Overloaded: e.pressure.full.Load})
	all, one := connectionLimits()
	e.manager = listener.New(listener.Options{Store: e.store, Recorder: e.recorder, Log: o.Log, Listen: e.sockets.Listen, MaxConnections: all, PerListener: one, Demands: demands{e}, Servers: listener.Servers{
		HTTP1: http1.NewServer(http1.Options{Proxy: proxy, Log: o.Log}),
		HTTP2: http2.NewServer(http2.ServerOptions{Handler: proxy, Recorder: e.recorder, Log: o.Log, Overloaded: e.pressure.full.Load}),
		TCP:   tcp.NewServer(tcp.Options{Recorder: e.recorder, Log: o.Log}),
	}})
	compiler := compile.New(compile.Options{Gateway: o.Gateway, Workload: o.Identity, Mesh: o.Identity.Roots(), Secrets: e.secrets,
		OnDemand: o.Node.OnDemand, Foreign: o.Foreign, Namespace: o.Node.Namespace, Environment: o.Environment})
	if o.Foreign {
		e.recorder.SetSelf(ownName(o))
	}
	e.sink = &sink{compiler: compiler, store: e.store, manager: e.manager, recorder: e.recorder, peers: peers, pressure: e.pressure, log: o.Log}
	e.client = discovery.New(discovery.Options{Node: o.Node, Dial: o.Dial, Sink: e.sink, Log: o.Log})
	e.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		export.NewCollector(e.recorder, e.logs, e.spans), &collector{e})
	return e
}

// ownName is the workload as it knows itself, where the control plane says nothing of it.
func ownName(o Options) telemetry.Self {
	return telemetry.Self{Identity: o.Identity.Expected().String(), Workload: &exchange.Workload{
		Name: cmp.Or(o.Node.Workload, o.Node.Pod), Namespace: o.Node.Namespace, Cluster: o.Node.ClusterID, ServiceAccount: o.Node.ServiceAccount}}
}

func (e *Engine) admin() admin.Options {
	return admin.Options{Proxy: view{e}, Metrics: e.registry, Level: e.options.Level, Log: e.options.Log}
}

// Admin answers the pod's own questions.
func (e *Engine) Admin() lifecycle.Component {
	return lifecycle.Component{Name: "admin", Run: func(ctx context.Context) error {
		return admin.Serve(ctx, e.sockets.Listen, e.options.Addresses.Admin, admin.Handler(e.admin()))
	}}
}

// Status answers the kubelet and Prometheus.
func (e *Engine) Status() lifecycle.Component {
	return lifecycle.Component{Name: "status", Run: func(ctx context.Context) error {
		return admin.Serve(ctx, e.sockets.Listen, e.options.Addresses.Status, admin.Status(e.admin(), e.options.App))
	}}
}

// Readiness says whether the proxy may be given traffic.
func (e *Engine) Readiness() lifecycle.Component {
	return lifecycle.Component{Name: "readiness", Run: func(ctx context.Context) error {
		return admin.Serve(ctx, e.sockets.Listen, e.options.Addresses.Ready, admin.Ready(view{e}))
	}}
}

// Prometheus serves the proxy's own metrics.
func (e *Engine) Prometheus() lifecycle.Component {
	return lifecycle.Component{Name: "prometheus", Run: func(ctx context.Context) error {
		return admin.Serve(ctx, e.sockets.Listen, e.options.Addresses.Prometheus, admin.Prometheus(e.admin()))
	}}
}

// AccessLogs writes access logs.
func (e *Engine) AccessLogs() lifecycle.Component {
	return lifecycle.Component{Name: "access logs", Run: e.logs.Run}
}

// Spans exports spans.
func (e *Engine) Spans() lifecycle.Component {
	exporter := export.NewSpanExporter(e.spans, e.options.Node.Pod, e.options.Log)
	return lifecycle.Component{Name: "spans", Run: exporter.Run}
}

// Identity keeps the workload's certificate fresh.
func (e *Engine) Identity() lifecycle.Component {
	return lifecycle.Component{Name: "identity", Run: e.options.Identity.Run}
}

// Upstreams keeps the clusters alive.
func (e *Engine) Upstreams() lifecycle.Component {
	return lifecycle.Component{Name: "upstreams", Run: e.upstream.Run}
}

// Health tells the control plane that the application is healthy (""), or why it is not.
func (e *Engine) Health(reason string) { e.client.Health(reason) }

// Discovery keeps the configuration fresh.
func (e *Engine) Discovery() lifecycle.Component {
	return lifecycle.Component{Name: "discovery", Run: e.client.Run}
}

// Names answers the pod's DNS questions, where it is to.
func (e *Engine) Names() lifecycle.Component {
	return lifecycle.Component{Name: "names", Run: func(ctx context.Context) error {
		if len(e.options.DNS) == 0 || e.resolver == nil {
			<-ctx.Done()
			return nil
		}
		return dns.NewServer(dns.Options{
			Addresses: e.options.DNS, Search: e.options.Search, Forwarder: e.resolver, Sockets: e.sockets, Log: e.options.Log, Table: func() *names.Table { return e.store.Load().Names },
			Recovered: func(v any) {
				e.options.Log.Error("recovered from a panic while answering a DNS question", "panic", v, "stack", string(debug.Stack()))
				e.recorder.Panicked()
			},
		}).Run(ctx)
	}}
}

// Listeners serve until told to stop, and then drain.
func (e *Engine) Listeners() lifecycle.Component {
	return lifecycle.Component{Name: "listeners", Run: func(ctx context.Context) error {
		again := time.NewTicker(rebindEvery)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				e.sink.rebind()
			case <-ctx.Done():
				e.terminate()
				return nil
			}
		}
	}}
}

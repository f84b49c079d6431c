// Package compile turns xDS messages into the proxy's runtime configuration, or says which field it will not honour. It does so resource
// by resource: what did not change keeps its objects, what is refused keeps its last good version. It is pure: no goroutines, no
// clock, no I/O; the same updates in the same order make the same configuration.
package compile

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/dialect"
	"github.com/heddle-mesh/heddle/sidecar/compile/questions"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/dns/names"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
	"github.com/heddle-mesh/heddle/sidecar/route"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// Options are what messages refer to and do not contain.
type Options struct {
	Gateway     bool                     // the listeners are a gateway's
	Workload    mtls.Certificate         // the secret named "default"
	Mesh        mtls.Verifier            // the secret named "ROOTCA"
	Secrets     *mtls.Secrets            // all others
	OnDemand    bool                     // clusters are asked for by name, and waited for
	Namespace   string                   // the proxy's own, where names are told as Istio tells them
	Foreign     bool                     // the control plane knows nothing of the dialect: see dialect.CheckForeign
	Environment func(name string) string // the proxy's, "" where it has no such variable; nil: it has none
}

// Compiler holds the resources in force and what was made of them. One goroutine uses it.
type Compiler struct {
	options   Options
	checker   dialect.Checker
	ignored   int
	workloads map[exchange.Workload]*exchange.Workload
	crowd     int // how many workloads may be remembered before those that are gone are forgotten

	clusters  map[string]*entry[*upstream.Config]
	endpoints map[string]*entry[*upstream.Assignment]
	listeners map[string]*entry[*config.Listener]
	routes    map[string]*entry[*route.Table]
	names     map[string]*entry[*names.Zone]
	hosts     map[string]*entry[*hosted]    // that came alone
	secrets   map[string]arrived            // without their content
	absent    map[string]map[string]bool    // by type: names that the control plane does not have
	refused   map[string]map[string]refusal // by type and name: the last version, where it was refused
	now       time.Time                     // see Received

	hostsAsked     questions.Queue[string] // names of virtual hosts
	addressesAsked questions.Queue[netip.AddrPort]
	tables         map[string]*completed // on demand, of the last configuration

	last    *config.Config
	zones   map[string]*names.Zone // that the last configuration's table was made of
	named   bool                   // the control plane has told of names, be it that there are none
	commits int
}

// arrived is a resource and when it came; zero: nobody said.
type arrived struct {
	wire.Resource
	at time.Time
}

// refusal is a resource that was refused, and why.
type refusal struct {
	arrived
	why string
}

// entry is one resource: its message, what was made of it, and what that needs.
type entry[T any] struct {
	resource arrived
	made     T
	needs    *needs
	chains   map[string]*madeChain // listeners
	self     *Self                 // listeners
	asks     bool                  // listeners: connections to it ask for theirs
	inForce  *needs                // of active
	active   T                     // in force; the zero T while it waits for what it needs
	live     bool                  // whether active is set
	before   *arrived              // what active was made of; nil: resource
}

// needs are the names that a resource refers to, and the objects to keep for its next version.
type needs struct {
	endpoints   string
	routes      map[string]bool
	clusters    map[string]bool
	secrets     map[string]bool
	handshakers map[string]*mtls.Client // by the bytes of their setting
}

func newNeeds() *needs {
	return &needs{routes: map[string]bool{}, clusters: map[string]bool{}, secrets: map[string]bool{}, handshakers: map[string]*mtls.Client{}}
}

func (n *needs) add(o *needs) {
	maps.Copy(n.routes, o.routes)
	maps.Copy(n.clusters, o.clusters)
	maps.Copy(n.secrets, o.secrets)
}

// builder makes one resource.
type builder struct {
	options   *Options
	workloads map[exchange.Workload]*exchange.Workload
	before    *needs // of the version before
	needs     *needs
	ignored   *int     // counts reports that are left out; nil: they are refused
	domains   []string // of the mesh, as the listener that is made says
}

// New returns a compiler without resources.
func New(options Options) *Compiler {
	return &Compiler{
		options: options, checker: dialect.New(), workloads: map[exchange.Workload]*exchange.Workload{},
		clusters: map[string]*entry[*upstream.Config]{}, endpoints: map[string]*entry[*upstream.Assignment]{},
		listeners: map[string]*entry[*config.Listener]{}, routes: map[string]*entry[*route.Table]{}, secrets: map[string]arrived{},
		names: map[string]*entry[*names.Zone]{}, zones: map[string]*names.Zone{}, hosts: map[string]*entry[*hosted]{},
		absent: map[string]map[string]bool{wire.TypeEndpoints: {}, wire.TypeRoute: {}, wire.TypeSecret: {},
			wire.TypeCluster: {}, wire.TypeListener: {}, wire.TypeVirtualHost: {}},
		refused: map[string]map[string]refusal{},
		last:    &config.Config{},
	}
}

// Apply takes what changed among the resources of typ and returns what it refuses, by name, with the path of the field. Nothing is in
// force before Config.
func (c *Compiler) Apply(typ string, changed []wire.Resource, removed []string) map[string]error {
	refused := map[string]error{}
	c.named = c.named || typ == wire.TypeNames || typ == wire.TypeNameTable
	for _, r := range changed {
		delete(c.refused[typ], r.Name)
		if err := c.recovered(r); err != nil {
			refused[r.Name] = err
			c.note(r, err)
		}
		delete(c.absent[typ], r.Name)
	}
	wanted := c.Wanted(typ)
	for _, name := range removed {
		_, still := slices.BinarySearch(wanted, name)
		c.remove(typ, name, still)
		delete(c.refused[typ], name)
	}
	return refused
}

// Received says when what Apply is given next came, for dumps.
func (c *Compiler) Received(at time.Time) { c.now = at }

// note keeps what was refused and why, for dumps; of secrets no content.
func (c *Compiler) note(r wire.Resource, err error) {
	if c.refused[r.Type] == nil {
		c.refused[r.Type] = map[string]refusal{}
	}
	if r.Type == wire.TypeSecret {
		r.Body, r.Record = nil, nil
	}
	c.refused[r.Type][r.Name] = refusal{arrived{r, c.now}, err.Error()}
}

// ErrPanic is what a resource is refused with that this package has a defect with.
var ErrPanic = errors.New("a defect of the proxy's")

// recovered is put, which refuses one resource where it would otherwise end the proxy, and again after each restart.
func (c *Compiler) recovered(r wire.Resource) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("resource: %w: %v", ErrPanic, v)
		}
	}()
	return c.put(r)
}

func (c *Compiler) put(r wire.Resource) error {
	switch r.Type {
	case wire.TypeCluster:
		return put(c, c.clusters, r, &clusterv3.Cluster{}, (*Compiler).makeCluster)
	case wire.TypeEndpoints:
		return put(c, c.endpoints, r, &endpointv3.ClusterLoadAssignment{}, (*Compiler).makeAssignment)
	case wire.TypeListener:
		return put(c, c.listeners, r, &listenerv3.Listener{}, (*Compiler).makeListener)
	case wire.TypeRoute:
		return put(c, c.routes, r, &routev3.RouteConfiguration{}, (*Compiler).makeRoutes)
	case wire.TypeVirtualHost:
		return put(c, c.hosts, r, &routev3.VirtualHost{}, (*Compiler).makeHost)
	case wire.TypeSecret:
		return c.putSecret(r)
	case wire.TypeNameTable:
		return c.putTheirNames(r)
	case wire.TypeNames:
		return put(c, c.names, r, &dnsv3.DnsTable{}, (*Compiler).makeNames)
	}
	return fmt.Errorf("type %q is unknown", r.Type)
}

// put makes a resource unless its bytes are those in force.
func put[T any, M proto.Message](c *Compiler, in map[string]*entry[T], r wire.Resource, m M, build func(*Compiler, *builder, M, *entry[T], *entry[T]) error) error {
	old := in[r.Name]
	if old != nil && string(old.resource.Body) == string(r.Body) {
		old.resource.Version = r.Version
		return nil
	}
	if err := proto.Unmarshal(r.Body, m); err != nil {
		return values.Wrong("resource", "%w", err)
	}
	if err := c.check(m); err != nil {
		return err
	}
	next := &entry[T]{resource: arrived{r, c.now}, needs: newNeeds()}
	b := &builder{options: &c.options, workloads: c.workloads, before: newNeeds(), needs: next.needs}
	if old != nil {
		b.before, next.active, next.live, next.inForce = old.needs, old.active, old.live, old.inForce
		if next.before = old.before; next.before == nil && old.live {
			next.before = &old.resource
		}
	}
	if c.options.Foreign {
		b.ignored = &c.ignored
	}
	if err := build(c, b, m, next, old); err != nil {
		return err
	}
	in[r.Name] = next
	return nil
}

func (c *Compiler) makeCluster(b *builder, m *clusterv3.Cluster, next, _ *entry[*upstream.Config]) (err error) {
	if m.GetName() != next.resource.Name {
		return values.Wrong("name", "%q is not the resource's name", m.GetName())
	}
	next.made, err = b.cluster(m)
	return err
}

func (c *Compiler) makeAssignment(b *builder, m *endpointv3.ClusterLoadAssignment, next, _ *entry[*upstream.Assignment]) error {
	all, err := b.endpoints(m, false)
	next.made = &upstream.Assignment{Name: next.resource.Name, Endpoints: all}
	return err
}

func (c *Compiler) makeListener(b *builder, m *listenerv3.Listener, next, old *entry[*config.Listener]) (err error) {
	if m.GetName() != next.resource.Name {
		return values.Wrong("name", "%q is not the resource's name", m.GetName())
	}
	before := &entry[*config.Listener]{}
	if old != nil {
		before = old
	}
	if next.made, next.chains, err = b.listener(m, before.chains); err != nil {
		return err
	}
	next.made.Via = keep(before.made, next.made.Via)
	next.self, next.asks = selfOf(m), asksAddresses(m)
	return nil
}

func (c *Compiler) makeRoutes(b *builder, m *routev3.RouteConfiguration, next, _ *entry[*route.Table]) error {
	description, err := b.routes(m)
	if err != nil {
		return err
	}
	next.made, err = route.New(description)
	return err
}

// check refuses what is not honoured.
func (c *Compiler) check(m proto.Message) error {
	if !c.options.Foreign {
		return c.checker.Check(m)
	}
	ignored, err := c.checker.CheckForeign(m)
	c.ignored += ignored
	return err
}

// Ignored is how many fields of a foreign control plane's resources were not honoured, and need not be, so far.
func (c *Compiler) Ignored() int { return c.ignored }

func (c *Compiler) putSecret(r wire.Resource) error {
	m := &tlsv3.Secret{}
	if err := proto.Unmarshal(r.Body, m); err != nil {
		return values.Wrong("resource", "%w", err)
	}
	if err := c.check(m); err != nil {
		return err
	}
	content, err := material(m)
	if err != nil {
		return err
	}
	if err := c.options.Secrets.Put(r.Name, content); err != nil {
		return err
	}
	r.Body, r.Record = nil, nil // keys are kept in one place
	c.secrets[r.Name] = arrived{r, c.now}
	return nil
}

// remove forgets a resource. Where it is still wanted, it counts as absent: nothing waits for it.
// A secret that is still wanted keeps its content, as in Envoy: a certificate that vanished by mistake goes on serving until it expires.
func (c *Compiler) remove(typ, name string, wanted bool) {
	switch typ {
	case wire.TypeCluster:
		delete(c.clusters, name)
	case wire.TypeListener:
		delete(c.listeners, name)
	case wire.TypeEndpoints:
		delete(c.endpoints, name)
	case wire.TypeRoute:
		delete(c.routes, name)
	case wire.TypeNames, wire.TypeNameTable:
		delete(c.names, name)
	case wire.TypeVirtualHost:
		delete(c.hosts, name)
	case wire.TypeSecret:
		if !wanted {
			delete(c.secrets, name)
			c.options.Secrets.Drop(name)
		}
	}
	if wanted {
		c.absent[typ][name] = true
	}
}

// Wanted returns the names of typ that the resources refer to, or that were asked for, sorted.
func (c *Compiler) Wanted(typ string) []string {
	names := map[string]bool{}
	switch typ {
	case wire.TypeCluster:
		if c.options.OnDemand {
			c.wantedClusters(names)
		}
	case wire.TypeListener:
		for _, a := range c.addressesAsked.Names() {
			for _, name := range listenerNames(a) {
				names[name] = true
			}
		}
	case wire.TypeVirtualHost:
		for _, name := range c.hostsAsked.Names() {
			names[name] = true
		}
	case wire.TypeEndpoints:
		for _, e := range c.clusters {
			if e.needs.endpoints != "" {
				names[e.needs.endpoints] = true
			}
		}
	case wire.TypeRoute:
		for _, e := range c.listeners {
			maps.Copy(names, e.needs.routes)
		}
	case wire.TypeSecret:
		for _, e := range c.clusters {
			maps.Copy(names, e.needs.secrets)
		}
		for _, e := range c.listeners {
			maps.Copy(names, e.needs.secrets)
		}
	}
	for name := range c.absent[typ] {
		if !names[name] {
			delete(c.absent[typ], name)
		}
	}
	for name := range c.refused[typ] {
		if !names[name] && c.byName(typ) {
			delete(c.refused[typ], name)
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// byName says whether resources of typ come only for names that are asked for.
func (c *Compiler) byName(typ string) bool {
	switch typ {
	case wire.TypeEndpoints, wire.TypeRoute, wire.TypeSecret, wire.TypeVirtualHost:
		return true
	}
	return typ == wire.TypeCluster && c.options.OnDemand
}

// Self returns what the control plane last said of this proxy's own workload, nil where it said nothing.
func (c *Compiler) Self() *Self {
	for _, name := range slices.Sorted(maps.Keys(c.listeners)) {
		if self := c.listeners[name].self; self != nil {
			return self
		}
	}
	return nil
}

// version names the next configuration for dumps.
func (c *Compiler) version() string {
	c.commits++
	return strconv.Itoa(c.commits)
}

package compile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
)

// States of a resource in a dump.
const (
	StateActive  = "active"
	StateWarming = "warming" // it, or its last version, waits for what it needs
	StateRefused = "refused" // its last version; Body is the last good one, if there is any
)

// Dumped is one resource as the control plane sent it.
type Dumped struct {
	Type    string          `json:"type"` // the message's last word
	Name    string          `json:"name"`
	Version string          `json:"version,omitempty"`
	State   string          `json:"state"`
	Error   string          `json:"error,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"` // never for secrets

	Last    *Version `json:"-"` // nil: none was ever good
	InForce *Version `json:"-"` // nil: none is
	Refused *Version `json:"-"` // nil: the last one is good
}

// Version is one version of a resource.
type Version struct {
	Name    string
	Message *anypb.Any // of secrets nothing
	At      time.Time  // when it came
}

func (a arrived) version() *Version {
	v := &Version{Name: a.Version, At: a.at}
	if a.Body != nil {
		v.Message = &anypb.Any{TypeUrl: a.Type, Value: a.Body}
	}
	return v
}

// Dump returns the resources of the type whose last word is given, all where it is empty, sorted by type and name.
func (c *Compiler) Dump(word string) ([]Dumped, error) { return c.dumped(word, true) }

// Versions is Dump of everything, without bodies.
func (c *Compiler) Versions() ([]Dumped, error) { return c.dumped("", false) }

func (c *Compiler) dumped(word string, bodies bool) ([]Dumped, error) {
	var out []Dumped
	var err error
	add := func(typ string, some []Dumped, failed error) {
		if failed != nil && err == nil {
			err = failed
		}
		if word == "" || word == values.Word(typ) {
			out = append(out, some...)
		}
	}
	some, failed := dumpAll(c, wire.TypeCluster, c.clusters, printer{&clusterv3.Cluster{}, bodies})
	add(wire.TypeCluster, some, failed)
	some, failed = dumpAll(c, wire.TypeEndpoints, c.endpoints, printer{&endpointv3.ClusterLoadAssignment{}, bodies})
	add(wire.TypeEndpoints, some, failed)
	some, failed = dumpAll(c, wire.TypeListener, c.listeners, printer{&listenerv3.Listener{}, bodies})
	add(wire.TypeListener, some, failed)
	some, failed = dumpAll(c, wire.TypeRoute, c.routes, printer{&routev3.RouteConfiguration{}, bodies})
	add(wire.TypeRoute, some, failed)
	some, failed = dumpAll(c, wire.TypeVirtualHost, c.hosts, printer{&routev3.VirtualHost{}, bodies})
	add(wire.TypeVirtualHost, some, failed)
	some, failed = dumpAll(c, wire.TypeNames, c.names, printer{&dnsv3.DnsTable{}, bodies})
	add(wire.TypeNames, some, failed)
	add(wire.TypeSecret, c.dumpSecrets(), nil)
	return out, err
}

// dumpSecrets returns the secrets that there are, that are waited for, or that were refused.
func (c *Compiler) dumpSecrets() []Dumped {
	names := map[string]bool{}
	for _, name := range c.Wanted(wire.TypeSecret) {
		names[name] = true
	}
	for name := range c.secrets {
		names[name] = true
	}
	var out []Dumped
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d := Dumped{Type: values.Word(wire.TypeSecret), Name: name, State: StateWarming}
		if held, ok := c.secrets[name]; ok {
			d.Version, d.State, d.Last = held.Version, StateActive, held.version()
			d.InForce = d.Last
		}
		c.dumpRefusal(wire.TypeSecret, &d)
		out = append(out, d)
	}
	return out
}

// dumpRefusal says why the last version was refused, if it was.
func (c *Compiler) dumpRefusal(typ string, d *Dumped) {
	if r := c.refused[typ][d.Name]; r.why != "" {
		d.State, d.Error, d.Refused = StateRefused, r.why, r.version()
	}
}

// printer writes bodies of a type as JSON, where they are asked for.
type printer struct {
	message proto.Message
	on      bool
}

func (p printer) print(body []byte, d *Dumped) (err error) {
	if !p.on {
		return nil
	}
	proto.Reset(p.message)
	if err := proto.Unmarshal(body, p.message); err != nil {
		return fmt.Errorf("reading %s %s: %w", d.Type, d.Name, err)
	}
	if d.Body, err = protojson.Marshal(p.message); err != nil { // extensions that were left out: nobody knows how they print
		d.Error = fmt.Sprintf("printing it: %v", err)
	}
	return nil
}

func dumpAll[T comparable](c *Compiler, typ string, in map[string]*entry[T], p printer) ([]Dumped, error) {
	var out []Dumped
	names := map[string]bool{}
	for name := range in {
		names[name] = true
	}
	for name := range c.refused[typ] {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d := Dumped{Type: values.Word(typ), Name: name, State: StateActive}
		if e := in[name]; e != nil {
			if err := p.print(e.resource.Body, &d); err != nil {
				return nil, err
			}
			d.Version = e.resource.Version
			d.Last = e.resource.version()
			switch {
			case typ == wire.TypeEndpoints:
				d.InForce = d.Last
			case !e.live:
				d.State = StateWarming
			case e.active != e.made && e.before != nil:
				d.State, d.InForce = StateWarming, e.before.version()
			default:
				d.InForce = d.Last
			}
		}
		c.dumpRefusal(typ, &d)
		out = append(out, d)
	}
	return out, nil
}

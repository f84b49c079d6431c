package compile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/data/dns/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

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
}

// Dump returns the resources of the type whose last word is given, all where it is empty, sorted by type and name.
func (c *Compiler) Dump(word string) ([]Dumped, error) {
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
	some, failed := dumpAll(c, wire.TypeCluster, c.clusters, &clusterv3.Cluster{})
	add(wire.TypeCluster, some, failed)
	some, failed = dumpAll(c, wire.TypeEndpoints, c.endpoints, &endpointv3.ClusterLoadAssignment{})
	add(wire.TypeEndpoints, some, failed)
	some, failed = dumpAll(c, wire.TypeListener, c.listeners, &listenerv3.Listener{})
	add(wire.TypeListener, some, failed)
	some, failed = dumpAll(c, wire.TypeRoute, c.routes, &routev3.RouteConfiguration{})
	add(wire.TypeRoute, some, failed)
	some, failed = dumpAll(c, wire.TypeVirtualHost, c.hosts, &routev3.VirtualHost{})
	add(wire.TypeVirtualHost, some, failed)
	some, failed = dumpAll(c, wire.TypeNames, c.names, &dnsv3.DnsTable{})
	add(wire.TypeNames, some, failed)
	var secrets []Dumped
	for _, name := range slices.Sorted(maps.Keys(c.secrets)) {
		secrets = append(secrets, Dumped{Type: values.Word(wire.TypeSecret), Name: name, Version: c.secrets[name].Version, State: StateActive})
	}
	add(wire.TypeSecret, secrets, nil)
	return out, err
}

func dumpAll[T comparable](c *Compiler, typ string, in map[string]*entry[T], m proto.Message) ([]Dumped, error) {
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
			proto.Reset(m)
			if err := proto.Unmarshal(e.resource.Body, m); err != nil {
				return nil, fmt.Errorf("reading %s %s: %w", d.Type, name, err)
			}
			body, err := protojson.Marshal(m)
			if err != nil { // extensions that were left out: nobody knows how they print
				d.Error = fmt.Sprintf("printing it: %v", err)
			}
			d.Version, d.Body = e.resource.Version, body
			if !e.live && typ != wire.TypeEndpoints || e.live && e.active != e.made {
				d.State = StateWarming
			}
		}
		if why := c.refused[typ][name]; why != "" {
			d.State, d.Error = StateRefused, why
		}
		out = append(out, d)
	}
	return out, nil
}

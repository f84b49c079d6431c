// Package configdump says what a proxy has in force in the words of Envoy's admin interface, so that tools made for that read it. It is pure, and
// tells no key.
package configdump

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
)

// Proxy is what there is to tell.
type Proxy struct {
	Node      *core.Node // nil: it does not run, and says nothing of itself
	Version   string     // the control plane's, of its last response
	Resources []compile.Dumped
	Contents  map[string]Content // by name of the secret; nil: nobody knows secrets, and none is told of
}

// Content is the public part of a secret, PEM.
type Content struct{ Chain, CA []byte }

// Query is what is asked for.
type Query struct {
	Resource  string // a repeated field of the dumps, whose elements are told alone; "": all
	Endpoints bool   // endpoints, too
}

// JSON returns the dump as JSON, with the fields' names as Envoy writes them; nil where there is no such resource.
func (p Proxy) JSON(q Query) (json.RawMessage, error) {
	var all []proto.Message
	if p.Node != nil {
		all = append(all, &admin.BootstrapConfigDump{Bootstrap: &bootstrap.Bootstrap{Node: p.Node}})
	}
	all = append(all, p.clusters())
	if q.Endpoints {
		all = append(all, p.endpoints())
	}
	all = append(all, p.listeners(), p.routes())
	if p.Contents != nil {
		all = append(all, p.secrets())
	}
	if q.Resource != "" {
		if all = elements(all, protoreflect.Name(q.Resource)); all == nil {
			return nil, nil
		}
	}
	out := &admin.ConfigDump{}
	for _, m := range all {
		one, err := anypb.New(m)
		if err != nil {
			return nil, fmt.Errorf("packing %T: %w", m, err)
		}
		out.Configs = append(out.Configs, one)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, Resolver: known{protoregistry.GlobalTypes}}.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("writing the dump: %w", err)
	}
	return text, nil
}

// elements are those of the first repeated field of that name; nil: no dump has one.
func elements(all []proto.Message, field protoreflect.Name) []proto.Message {
	for _, m := range all {
		f := m.ProtoReflect().Descriptor().Fields().ByName(field)
		if f == nil || !f.IsList() || f.Message() == nil {
			continue
		}
		out, list := []proto.Message{}, m.ProtoReflect().Get(f).List()
		for i := range list.Len() {
			out = append(out, list.Get(i).Message().Interface())
		}
		return out
	}
	return nil
}

// known prints as empty the extensions that are not known here: they were left out, and nobody knows how they print.
type known struct{ *protoregistry.Types }

// FindMessageByURL implements protoregistry.MessageTypeResolver.
func (k known) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if found, err := k.Types.FindMessageByURL(url); err == nil {
		return found, nil
	}
	return (&emptypb.Empty{}).ProtoReflect().Type(), nil
}

// each calls tell with each resource of a type.
func (p Proxy) each(typ string, tell func(compile.Dumped)) {
	for _, d := range p.Resources {
		if d.Type == values.Word(typ) {
			tell(d)
		}
	}
}

// stamp is a time as messages have it; nil: it is not known.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// failure says why the last version was refused; nil: it was not.
func failure(d compile.Dumped) *admin.UpdateFailureState {
	if d.Refused == nil {
		return nil
	}
	return &admin.UpdateFailureState{FailedConfiguration: d.Refused.Message, LastUpdateAttempt: stamp(d.Refused.At), Details: d.Error, VersionInfo: d.Refused.Name}
}

// waits says whether a version is not in force that was good: what it needs is not there yet.
func waits(d compile.Dumped) bool { return d.Last != nil && d.Last != d.InForce }

func (p Proxy) clusters() *admin.ClustersConfigDump {
	out := &admin.ClustersConfigDump{VersionInfo: p.Version}
	p.each(wire.TypeCluster, func(d compile.Dumped) {
		tell := func(v *compile.Version) *admin.ClustersConfigDump_DynamicCluster {
			return &admin.ClustersConfigDump_DynamicCluster{VersionInfo: v.Name, Cluster: v.Message, LastUpdated: stamp(v.At), ErrorState: failure(d)}
		}
		if d.InForce != nil {
			out.DynamicActiveClusters = append(out.DynamicActiveClusters, tell(d.InForce))
		}
		switch {
		case waits(d):
			out.DynamicWarmingClusters = append(out.DynamicWarmingClusters, tell(d.Last))
		case d.Last == nil:
			out.DynamicWarmingClusters = append(out.DynamicWarmingClusters, tell(told(d, &cluster.Cluster{Name: d.Name})))
		}
	})
	return out
}

func (p Proxy) listeners() *admin.ListenersConfigDump {
	out := &admin.ListenersConfigDump{VersionInfo: p.Version}
	tell := func(v *compile.Version) *admin.ListenersConfigDump_DynamicListenerState {
		return &admin.ListenersConfigDump_DynamicListenerState{VersionInfo: v.Name, Listener: v.Message, LastUpdated: stamp(v.At)}
	}
	p.each(wire.TypeListener, func(d compile.Dumped) {
		l := &admin.ListenersConfigDump_DynamicListener{Name: d.Name, ErrorState: failure(d)}
		if d.InForce != nil {
			l.ActiveState = tell(d.InForce)
		}
		if waits(d) {
			l.WarmingState = tell(d.Last)
		}
		out.DynamicListeners = append(out.DynamicListeners, l)
	})
	return out
}

// routes are route configurations, each with its hosts that came alone, as Envoy tells of what VHDS brought.
func (p Proxy) routes() *admin.RoutesConfigDump {
	out := &admin.RoutesConfigDump{}
	alone := map[string][]*compile.Version{} // by the route configuration's name
	p.each(wire.TypeVirtualHost, func(d compile.Dumped) {
		if at, _, ok := strings.Cut(d.Name, "/"); ok && d.InForce != nil {
			alone[at] = append(alone[at], d.InForce)
		}
	})
	p.each(wire.TypeRoute, func(d compile.Dumped) {
		v := withHosts(told(d, &route.RouteConfiguration{Name: d.Name}), alone[d.Name])
		r := &admin.RoutesConfigDump_DynamicRouteConfig{VersionInfo: v.Name, RouteConfig: v.Message, LastUpdated: stamp(v.At), ErrorState: failure(d)}
		out.DynamicRouteConfigs = append(out.DynamicRouteConfigs, r)
	})
	return out
}

// withHosts is a route configuration and hosts that came alone, one of which may have come under several names.
func withHosts(v *compile.Version, alone []*compile.Version) *compile.Version {
	var all route.RouteConfiguration
	if len(alone) == 0 || v.Message.UnmarshalTo(&all) != nil {
		return v
	}
	out, there := *v, map[string]bool{}
	for _, one := range alone {
		var host route.VirtualHost
		if one.Message.UnmarshalTo(&host) != nil || there[host.GetName()] {
			continue
		}
		there[host.GetName()] = true
		all.VirtualHosts = append(all.VirtualHosts, &host)
		if one.At.After(out.At) {
			out.At = one.At
		}
	}
	out.Message = pack(&all)
	return &out
}

// told is the version to tell of where there is room for one: that in force, else the last good one, else none: readers take it that there is a message.
func told(d compile.Dumped, none proto.Message) *compile.Version {
	switch {
	case d.InForce != nil:
		return d.InForce
	case d.Last != nil:
		return d.Last
	}
	return &compile.Version{Message: pack(none)}
}

// pack is a message of ours, which cannot fail, in an Any.
func pack(m proto.Message) *anypb.Any {
	out, err := anypb.New(m)
	if err != nil {
		return nil
	}
	return out
}

// endpoints are those that were sent alone, and those that clusters came with.
func (p Proxy) endpoints() *admin.EndpointsConfigDump {
	out := &admin.EndpointsConfigDump{}
	p.each(wire.TypeEndpoints, func(d compile.Dumped) {
		v := told(d, &endpoint.ClusterLoadAssignment{ClusterName: d.Name})
		e := &admin.EndpointsConfigDump_DynamicEndpointConfig{VersionInfo: v.Name, EndpointConfig: v.Message, LastUpdated: stamp(v.At), ErrorState: failure(d)}
		out.DynamicEndpointConfigs = append(out.DynamicEndpointConfigs, e)
	})
	p.each(wire.TypeCluster, func(d compile.Dumped) {
		var m cluster.Cluster
		if d.InForce == nil || d.InForce.Message.UnmarshalTo(&m) != nil || m.GetLoadAssignment() == nil {
			return
		}
		m.LoadAssignment.ClusterName = m.Name
		out.DynamicEndpointConfigs = append(out.DynamicEndpointConfigs,
			&admin.EndpointsConfigDump_DynamicEndpointConfig{VersionInfo: d.InForce.Name, EndpointConfig: pack(m.LoadAssignment), LastUpdated: stamp(d.InForce.At)})
	})
	return out
}

package contract

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	meshapi "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
)

// kinds are what is drawn: the schema decides which fields there are, values decides what is in them.
func kinds() map[string]proto.Message {
	return map[string]proto.Message{
		"VirtualService": &networking.VirtualService{}, "DestinationRule": &networking.DestinationRule{}, "Gateway": &networking.Gateway{},
		"ServiceEntry": &networking.ServiceEntry{}, "Sidecar": &networking.Sidecar{}, "PeerAuthentication": &security.PeerAuthentication{},
		"AuthorizationPolicy": &security.AuthorizationPolicy{}, "Telemetry": &telemetry.Telemetry{},
	}
}

func groupOf(kind string) string {
	switch kind {
	case "PeerAuthentication", "AuthorizationPolicy":
		return "security.istio.io/v1"
	case "Telemetry":
		return "telemetry.istio.io/v1"
	}
	return "networking.istio.io/v1"
}

// registry is what is there in each mesh that is drawn: names that values speaks of.
const registry = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: web}, ports: [{port: 80, name: http}, {port: 9000, name: tcp}, {port: 7000, name: any}, {port: 443, name: https}, {port: 50051, name: grpc}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, selector: {app: a}, ports: [{port: 80, name: http}, {port: 9000, name: mysql}, {port: 7000, name: any}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: api.example.com, ports: [{port: 80, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: other}
spec: {clusterIP: 10.0.0.9, selector: {app: edge}, ports: [{port: 80, name: http, targetPort: 8080}, {port: 443, name: https, targetPort: named}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, version: v1, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: web, nodeName: n1, containers: [{name: app}]}
status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, labels: {app: web, version: v2}}
spec: {serviceAccountName: web, nodeName: n2, containers: [{name: app}]}
status: {phase: Running, podIP: 10.1.0.2, podIPs: [{ip: 10.1.0.2}]}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: a}}
---
apiVersion: v1
kind: Node
metadata: {name: n2, labels: {topology.kubernetes.io/region: us, topology.kubernetes.io/zone: b}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}, {name: tcp, port: 9000, protocol: TCP}, {name: any, port: 7000, protocol: TCP}]
endpoints:
- {addresses: [10.1.0.1], nodeName: n1, targetRef: {kind: Pod, name: web-1, namespace: shop}}
- {addresses: [10.1.0.2], nodeName: n2, targetRef: {kind: Pod, name: web-2, namespace: shop}}
- {addresses: [10.1.0.3], conditions: {ready: false}}
`

// drawing draws objects and changes them.
type drawing struct {
	*rand.Rand
	mended map[string]bool // where a sound value was tried
}

func newDrawing(seed uint64) *drawing {
	return &drawing{rand.New(rand.NewPCG(seed, 0)), map[string]bool{}}
}

// one returns one of list.
func one[T any](d *drawing, list ...T) T { return list[d.IntN(len(list))] }

// mesh draws some objects for the registry.
func (d *drawing) mesh(t *testing.T) []map[string]any {
	docs, err := documents([]byte(registry))
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(kinds()))
	for i := range 2 + d.IntN(4) {
		kind := one(d, names...)
		spec := map[string]any{}
		for range 3 {
			d.fields(spec, kinds()[kind].ProtoReflect().Descriptor(), 0)
		}
		docs = append(docs, map[string]any{"apiVersion": groupOf(kind), "kind": kind, "spec": spec,
			"metadata": map[string]any{"name": string(rune('a' + i)), "namespace": one(d, "shop", "other", "heddle-system")}})
	}
	if d.IntN(3) == 0 {
		settings := map[string]any{}
		d.fields(settings, (&meshapi.MeshConfig{}).ProtoReflect().Descriptor(), 0)
		text, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "heddle", "namespace": "heddle-system"},
			"data": map[string]any{"mesh": string(text)}})
	}
	return docs
}

// change changes a few places of a mesh.
func (d *drawing) change(docs []map[string]any) {
	var candidates []map[string]any
	for _, doc := range docs {
		if kind, _ := doc["kind"].(string); kinds()[kind] != nil {
			candidates = append(candidates, doc)
		}
	}
	if len(candidates) == 0 {
		return
	}
	for range 1 + d.IntN(4) {
		doc := one(d, candidates...)
		spec, ok := doc["spec"].(map[string]any)
		if !ok {
			spec = map[string]any{}
			doc["spec"] = spec
		}
		d.alter(spec, kinds()[doc["kind"].(string)].ProtoReflect().Descriptor())
	}
}

// alter changes one place of a message.
func (d *drawing) alter(tree map[string]any, md protoreflect.MessageDescriptor) {
	present := slices.Sorted(maps.Keys(tree))
	if len(present) > 0 && d.IntN(8) > 0 {
		name := one(d, present...)
		fd := md.Fields().ByJSONName(name)
		switch below := d.within(tree[name]).(type) {
		case map[string]any:
			if fd != nil && fd.Message() != nil && !fd.IsMap() && fd.Message().FullName().Parent() != "google.protobuf" {
				d.alter(below, fd.Message())
				return
			}
		}
		switch {
		case fd == nil || d.IntN(4) == 0:
			delete(tree, name)
		default:
			tree[name] = d.value(fd, 1)
		}
		return
	}
	d.fields(tree, md, 2)
}

// within returns an item of a list, or what is no list.
func (d *drawing) within(v any) any {
	if list, ok := v.([]any); ok && len(list) > 0 {
		return one(d, list...)
	}
	return v
}

// deepest is how many messages are drawn within each other.
const deepest = 7

// fields draws some fields of a message. The names that most objects need are drawn more often.
func (d *drawing) fields(tree map[string]any, md protoreflect.MessageDescriptor, depth int) {
	all := md.Fields()
	if depth > deepest || all.Len() == 0 {
		return
	}
	for range 1 + d.IntN(3) {
		d.field(tree, all.Get(d.IntN(all.Len())), depth)
	}
	for _, name := range []string{"host", "hosts", "number", "name", "protocol", "port", "destination", "route", "mode", "address", "exact", "resolution", "ports", "labels"} {
		if fd := all.ByJSONName(name); fd != nil && d.IntN(5) > 0 {
			d.field(tree, fd, depth)
		}
	}
}

// field draws one field, and takes away the others of its choice.
func (d *drawing) field(tree map[string]any, fd protoreflect.FieldDescriptor, depth int) {
	if choice := fd.ContainingOneof(); choice != nil && d.IntN(20) > 0 {
		for i := range choice.Fields().Len() {
			delete(tree, choice.Fields().Get(i).JSONName())
		}
	}
	tree[fd.JSONName()] = d.value(fd, depth)
}

func (d *drawing) value(fd protoreflect.FieldDescriptor, depth int) any {
	name := fd.JSONName()
	switch {
	case d.IntN(60) == 0:
		return nil
	case fd.IsMap():
		out := map[string]any{}
		for range d.IntN(3) {
			out[d.text(name+".key")] = d.single(fd.MapValue(), name, depth)
		}
		return out
	case fd.IsList():
		out := []any{}
		for range 1 + d.IntN(3)*d.IntN(2) {
			out = append(out, d.single(fd, name, depth))
		}
		return out
	}
	return d.single(fd, name, depth)
}

func (d *drawing) single(fd protoreflect.FieldDescriptor, name string, depth int) any {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return d.message(fd.Message(), name, depth)
	case protoreflect.BoolKind:
		return d.IntN(3) > 0
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return string(values.Get(d.IntN(values.Len())).Name())
	case protoreflect.StringKind:
		return d.text(name)
	case protoreflect.BytesKind:
		return "aGVkZGxl"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return one(d, 0, 0.0001, 1, 33.3, 50, 99.9999, 100, 100.1, -1)
	}
	return d.number(name)
}

func (d *drawing) message(md protoreflect.MessageDescriptor, name string, depth int) any {
	switch full := string(md.FullName()); {
	case full == "google.protobuf.Duration":
		return one(d, "1s", "0s", "1ms", "2.5s", "0.0001s", "24h", "100000h", "-1s", "10s", "0.000000001s")
	case full == "google.protobuf.BoolValue":
		return d.IntN(2) == 0
	case strings.HasSuffix(full, "Value") && strings.HasPrefix(full, "google.protobuf."):
		return d.number(name)
	case strings.HasPrefix(full, "google.protobuf."):
		return map[string]any{}
	}
	out := map[string]any{}
	d.fields(out, md, depth+1)
	return out
}

func (d *drawing) number(name string) int {
	switch {
	case name == "number" || name == "port" || name == "targetPort" || name == "ports":
		return one(d, 80, 80, 443, 9000, 7000, 8080, 50051, 1, 65535, 65536, 0)
	case strings.Contains(strings.ToLower(name), "percent"):
		return one(d, 0, 1, 50, 100, 101)
	case strings.Contains(name, "tatus") || name == "redirectCode":
		return one(d, 200, 301, 307, 404, 503, 599, 600, 0, 99)
	}
	return one(d, 0, 1, 2, 5, 10, 100, 1024, 1<<31-1, 1<<32-1, -1)
}

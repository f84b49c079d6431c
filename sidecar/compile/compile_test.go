package compile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/cncf/xds/go/udpa/type/v1"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_stats/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/internal/spiffe"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
)

// workload stands for the proxy's own certificate and anchors.
type workload struct{}

func (workload) Certificate() *tls.Certificate { return nil }

func (workload) Verify([]*x509.Certificate, x509.ExtKeyUsage, time.Time) (spiffe.Identity, error) {
	return spiffe.Identity{}, nil
}

func newCompiler() *Compiler {
	return New(Options{Workload: workload{}, Mesh: workload{}, Secrets: mtls.NewSecrets()})
}

// resources reads YAML documents: messages as JSON with "@type". A document "remove: [type name]" removes.
func resources(t *testing.T, text string) (changed []wire.Resource, removed map[string][]string) {
	t.Helper()
	removed = map[string][]string{}
	for _, doc := range strings.Split(text, "\n---\n") {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(doc), "remove: "); ok {
			typ, name, _ := strings.Cut(rest, " ")
			removed[typeOf(t, typ)] = append(removed[typeOf(t, typ)], name)
			continue
		}
		data, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		var any anypb.Any
		if err := protojson.Unmarshal(data, &any); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		m, err := any.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		changed = append(changed, resource(t, m))
	}
	return changed, removed
}

func typeOf(t *testing.T, word string) string {
	t.Helper()
	typ, ok := map[string]string{"Cluster": wire.TypeCluster, "ClusterLoadAssignment": wire.TypeEndpoints, "Listener": wire.TypeListener,
		"RouteConfiguration": wire.TypeRoute, "Secret": wire.TypeSecret, "DnsTable": wire.TypeNames, "VirtualHost": wire.TypeVirtualHost}[word]
	if !ok {
		t.Fatalf("no type %q", word)
	}
	return typ
}

func resource(t *testing.T, m proto.Message) wire.Resource {
	t.Helper()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	hash := fnv.New32()
	hash.Write(body)
	r := wire.Resource{Type: typeOf(t, values.Word(string(m.ProtoReflect().Descriptor().FullName()))), Version: fmt.Sprint(hash.Sum32()), Body: body}
	switch m := m.(type) {
	case *clusterv3.Cluster:
		r.Name = m.GetName()
	case *listenerv3.Listener:
		r.Name = m.GetName()
	case *routev3.RouteConfiguration:
		r.Name = m.GetName()
	case *routev3.VirtualHost:
		r.Name = m.GetName()
	case *endpointv3.ClusterLoadAssignment:
		r.Name = m.GetClusterName()
	case *tlsv3.Secret:
		r.Name = m.GetName()
	}
	return r
}

// apply hands a step to the compiler and returns what was refused.
func apply(t *testing.T, c *Compiler, text string) map[string]error {
	t.Helper()
	changed, removed := resources(t, text)
	refused := map[string]error{}
	for _, typ := range []string{wire.TypeCluster, wire.TypeEndpoints, wire.TypeListener, wire.TypeRoute, wire.TypeVirtualHost, wire.TypeSecret} {
		of := slices.DeleteFunc(slices.Clone(changed), func(r wire.Resource) bool { return r.Type != typ })
		maps.Copy(refused, c.Apply(typ, of, removed[typ]))
	}
	return refused
}

// TestGolden applies the sections of a case in the order of their names and prints the configuration after the last one.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, golden golden.Case) map[string]string {
		c := newCompiler()
		if golden.Files["options"] != "" {
			c.options.Foreign = strings.TrimSpace(golden.Files["options"]) == "foreign"
			delete(golden.Files, "options")
		}
		refused := map[string]error{}
		for _, name := range slices.Sorted(maps.Keys(golden.Files)) {
			maps.Copy(refused, apply(t, c, golden.Files[name]))
			c.Config()
		}
		config := c.Config()
		out := map[string]string{"listeners": dump(config.Listeners), "clusters": dump(config.Clusters), "endpoints": dump(config.Endpoints)}
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(refused)) {
			lines = append(lines, name+": "+refused[name].Error())
		}
		out["refused"] = strings.Join(lines, "\n")
		lines = nil
		for typ, word := range map[string]string{wire.TypeEndpoints: "endpoints", wire.TypeRoute: "routes", wire.TypeSecret: "secrets"} {
			lines = append(lines, strings.TrimSpace(word+": "+strings.Join(c.Wanted(typ), " ")))
		}
		slices.Sort(lines)
		out["wanted"] = strings.Join(lines, "\n")
		out["routes"] = descriptions(t, golden)
		out["ignored"] = fmt.Sprint(c.Ignored())
		return out
	})
}

// descriptions prints what is handed to the route package, which makes opaque tables of it.
func descriptions(t *testing.T, golden golden.Case) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(golden.Files)) {
		changed, _ := resources(t, golden.Files[name])
		for _, r := range changed {
			if r.Type != wire.TypeRoute {
				continue
			}
			var m routev3.RouteConfiguration
			if err := proto.Unmarshal(r.Body, &m); err != nil {
				t.Fatal(err)
			}
			b := &builder{needs: newNeeds()}
			if config, err := b.routes(&m); err == nil {
				out.WriteString(dump(config))
			}
		}
	}
	return out.String()
}

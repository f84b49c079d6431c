package generate_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/pilot/generate"
	"github.com/heddle-mesh/heddle/pilot/generate/naming"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// TestGolden says what a mesh means in xDS. Options, one a line: "pod namespace/name" (whose proxy), "gateway", "foreign", "proxyless", "names" (DNS is captured), "demand"
// (a sidecar that asks for what it uses), "older" (a proxy of dialect 1), "ask <name>" (a host that it asks for), and "show <type> <name>" (written to want/resources, whole). want/names lists everything that is told.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		in, err := source.FromYAML([]byte(c.Files["in.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		snapshot, _ := translate.Translate(in, nil)
		endpoints, workloads := translate.Endpoints(in, nil)
		o := readOptions(t, c.Files["options"])
		w := workloads.ByName[o.pod]
		if w == nil {
			t.Fatalf("there is no pod %s", o.pod)
		}
		m, ix := generate.NewMemo(), generate.NewIndex(snapshot, endpoints, nil)
		scope := generate.ScopeOf(ix, w, o.class, m)
		outer := generate.GenerateOutbound(ix, scope.Outbound, m)
		var own *generate.Set
		if o.class.Router {
			own = generate.GenerateEdge(ix, scope.Outbound, scope.Edge, m)
		} else {
			own = generate.GenerateInbound(scope.Inbound, m)
		}
		all := resources(outer, own, endpoints, scope, m)
		if scope.Outbound.OnDemand {
			all = demanded(all, outer, own, o.ask)
		}
		return map[string]string{"names": listed(all), "resources": shown(t, all, o.show), "scope": scope.String() + strings.Join(own.Conflicts, "\n")}
	})
}

type options struct {
	pod   model.Name
	class naming.Class
	show  []string
	ask   []string
}

func readOptions(t *testing.T, text string) options {
	o := options{class: naming.Class{IPv4: true}}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "pod":
			o.pod.Namespace, o.pod.Name, _ = strings.Cut(rest, "/")
		case "gateway":
			o.class.Router = true
		case "foreign":
			o.class.Foreign = true
		case "proxyless":
			o.class.Foreign, o.class.Proxyless = true, true
		case "names":
			o.class.Names, o.class.Allocated = true, true
		case "demand":
			o.class.OnDemand = true
		case "ask":
			o.ask = append(o.ask, rest)
		case "older":
			o.class.Older = 1
		case "dual":
			o.class.IPv6 = true
		case "show":
			o.show = append(o.show, rest)
		case "":
		default:
			t.Fatalf("option %q is unknown", word)
		}
	}
	return o
}

// resources are everything that a proxy is told, in order.
func resources(outer, own *generate.Set, endpoints *model.EndpointIndex, scope generate.Scope, m *generate.Memo) []*wire.Resource {
	var out []*wire.Resource
	for _, typ := range []string{wire.TypeCluster, wire.TypeEndpoints, wire.TypeListener, wire.TypeRoute, wire.TypeNames} {
		for _, c := range outer.All(wire.TypeCluster) {
			if view, known := outer.Reach.View(c.Name); known && typ == wire.TypeEndpoints {
				out = append(out, generate.Endpoints(c.Name, endpoints.Sets[view.Key], view.From(scope.From), m))
			}
		}
		out = append(append(out, outer.All(typ)...), own.All(typ)...)
	}
	return out
}

// demanded is what of it is told to a proxy that asks for some hosts, and for all routes, and what it is told of these hosts.
func demanded(all []*wire.Resource, outer, own *generate.Set, ask []string) []*wire.Resource {
	var out []*wire.Resource
	for _, r := range all {
		if r.Type != wire.TypeEndpoints && outer.Includes(r.Type, r.Name) || own.Get(r.Type, r.Name) != nil {
			out = append(out, r)
		}
	}
	for _, name := range ask {
		if r := outer.Host(name); r != nil {
			out = append(out, r)
		}
	}
	return out
}

func short(r *wire.Resource) string {
	return strings.ToLower(r.Type[strings.LastIndexByte(r.Type, '.')+1:]) + " " + r.Name
}

func listed(all []*wire.Resource) string {
	var out strings.Builder
	for _, r := range all {
		fmt.Fprintln(&out, short(r))
	}
	return out.String()
}

func shown(t *testing.T, all []*wire.Resource, show []string) string {
	var out strings.Builder
	for _, wanted := range show {
		found := false
		for _, r := range all {
			if short(r) != wanted {
				continue
			}
			found = true
			fmt.Fprintf(&out, "# %s\n%s", wanted, asYAML(t, r))
		}
		if !found {
			t.Errorf("there is no %s", wanted)
		}
	}
	return out.String()
}

func asYAML(t *testing.T, r *wire.Resource) string {
	m, err := (&anypb.Any{TypeUrl: r.Type, Value: r.Body}).UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := yaml.JSONToYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Package debug answers, read-only and over HTTP, what pilot knows and why a proxy has what it has. It changes nothing and never shows
// the content of a Secret.
//
//	GET /debug/syncz                         JSON [discovery.Client]: who is connected, what was sent, accepted and refused, by type URL
//	GET /debug/config_dump?proxy=pod.ns      JSON {proxy, resources: [{type, name, version, body}]}; narrowed by &type=cluster|endpoint|
//	                                         listener|route (a message's last word also does) and &name=
//	GET /debug/scope?proxy=pod.ns            text: what about the proxy decides its configuration (Sidecar, ports and their mTLS, policies, servers)
//	GET /debug/snapshot                      text: the mesh, resolved
//	GET /debug/report                        JSON: what became of each object, and why
package debug

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/discovery"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/model/dump"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// Server is what debug asks of discovery.
type Server interface {
	Clients() []discovery.Client
	ViewOf(proxy string) discovery.View
}

// Publisher is what debug asks of publish.
type Publisher interface {
	Snapshot() *model.Snapshot
	ScopeOf(proxy string) string
}

// Options is where the answers come from.
type Options struct {
	Server    Server
	Publisher Publisher
	Report    func() report.Report
}

// Dump is the answer of /debug/config_dump.
type Dump struct {
	Proxy     string     `json:"proxy"`
	Resources []Resource `json:"resources"`
}

// Resource is one xDS resource as it is sent.
type Resource struct {
	Type    string          `json:"type"` // the message's last word
	Name    string          `json:"name"`
	Version string          `json:"version"`
	Body    json.RawMessage `json:"body"`
}

// Handler returns the pages.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/syncz", func(w http.ResponseWriter, _ *http.Request) {
		clients := o.Server.Clients()
		if clients == nil {
			clients = []discovery.Client{}
		}
		respond(w, clients)
	})
	mux.HandleFunc("GET /debug/config_dump", o.dump)
	mux.HandleFunc("GET /debug/scope", o.scope)
	mux.HandleFunc("GET /debug/snapshot", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if s := o.Publisher.Snapshot(); s != nil {
			fmt.Fprint(w, dump.Value(s))
		}
	})
	mux.HandleFunc("GET /debug/report", func(w http.ResponseWriter, _ *http.Request) { respond(w, o.Report()) })
	return mux
}

func respond(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(v) // the client is gone; there is nobody to tell
}

func (o Options) scope(w http.ResponseWriter, r *http.Request) {
	text := o.Publisher.ScopeOf(r.URL.Query().Get("proxy"))
	if text == "" {
		http.Error(w, "no such proxy is connected", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, text)
}

// dump answers what a proxy is told now.
func (o Options) dump(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	view := o.Server.ViewOf(query.Get("proxy"))
	if view == nil {
		http.Error(w, "no such proxy is connected", http.StatusNotFound)
		return
	}
	out := Dump{Proxy: query.Get("proxy"), Resources: []Resource{}}
	for _, res := range resources(r, view) {
		if !named(res.Type, query.Get("type")) || query.Get("name") != "" && query.Get("name") != res.Name {
			continue
		}
		body, err := readable(res)
		if err != nil {
			http.Error(w, fmt.Sprintf("writing %s: %v", res.Name, err), http.StatusInternalServerError)
			return
		}
		out.Resources = append(out.Resources, Resource{Type: lastWord(res.Type), Name: res.Name, Version: res.Version, Body: body})
	}
	respond(w, out)
}

// resources are all but secrets, in the order in which they are sent.
func resources(r *http.Request, view discovery.View) []*wire.Resource {
	clusters := view.All(wire.TypeCluster)
	out := append([]*wire.Resource{}, clusters...)
	for _, c := range clusters {
		var m cluster.Cluster
		if proto.Unmarshal(c.Body, &m) != nil || m.GetEdsClusterConfig() == nil {
			continue
		}
		if e := view.Get(r.Context(), wire.TypeEndpoints, m.GetEdsClusterConfig().GetServiceName()); e != nil {
			out = append(out, e)
		}
	}
	out = append(out, view.All(wire.TypeListener)...)
	out = append(out, view.All(wire.TypeRoute)...)
	return append(out, view.All(wire.TypeNames)...)
}

// named reports whether a type is the one asked for: by its last word, or as people say it.
func named(typ, asked string) bool {
	word := strings.ToLower(lastWord(typ))
	asked = strings.ToLower(strings.TrimSuffix(asked, "s"))
	return asked == "" || strings.HasPrefix(word, asked) || asked == "endpoint" && typ == wire.TypeEndpoints
}

func lastWord(typ string) string { return typ[strings.LastIndexByte(typ, '.')+1:] }

func readable(r *wire.Resource) (json.RawMessage, error) {
	m, err := (&anypb.Any{TypeUrl: r.Type, Value: r.Body}).UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("reading it back: %w", err)
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("writing it as JSON: %w", err)
	}
	return text, nil
}

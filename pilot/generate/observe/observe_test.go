package observe

import (
	"slices"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/pilot/generate/intern"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// mesh has two further providers of logs, a and b, that write their names.
func mesh(defaults ...string) *model.Mesh {
	return &model.Mesh{RootNamespace: "root", DefaultLogs: defaults, AccessLog: model.AccessLog{File: model.Stdout, Format: "file"},
		LogProviders:     map[string]model.AccessLog{"a": {File: model.Stdout, Format: "a"}, "b": {File: model.Stdout, Format: "b"}},
		TracingProviders: map[string]string{"t": "t:1", "u": "u:1"}}
}

// own are Telemetries that select a workload.
func own(all ...*model.Telemetry) *intern.List[*model.Telemetry] {
	return intern.New[*model.Telemetry]().Of(all)
}

func logging(rules ...model.Logging) *model.Telemetry { return &model.Telemetry{Logging: rules} }

// formats is what a side logs.
func formats(s Side) []string {
	var out []string
	for _, l := range s.Logs {
		text := l.Format
		if l.Filter != "" {
			text += " if " + l.Filter
		}
		out = append(out, text)
	}
	return out
}

// TestLogs holds which providers are on, with Istio's rules of inheriting.
func TestLogs(t *testing.T) {
	a, b, off := model.Logging{Providers: []string{"a"}}, model.Logging{Providers: []string{"b"}}, model.Logging{Disabled: true}
	filtered := model.Logging{Providers: []string{"a"}, Filter: "x"}
	for says, c := range map[string]struct {
		layers Layers
		want   []string // of clients
	}{
		"nothing is said: the file":                           {Layers{Mesh: mesh()}, []string{"file"}},
		"providers of the settings, not the file":             {Layers{Mesh: mesh("a", "b")}, []string{"a", "b"}},
		"the built-in provider has the mesh's format":         {Layers{Mesh: mesh(model.BuiltinLog)}, []string{"file"}},
		"a layer without logging changes nothing":             {Layers{Mesh: mesh("a"), Root: &model.Telemetry{}}, []string{"a"}},
		"off, without providers: those of the settings":       {Layers{Mesh: mesh("a", "b"), Root: logging(off)}, nil},
		"off turns the file off":                              {Layers{Mesh: mesh(), Namespace: logging(off)}, nil},
		"off, without providers: those of the layer before":   {Layers{Mesh: mesh(), Root: logging(a), Namespace: logging(off)}, nil},
		"the last layer to name providers names all of them":  {Layers{Mesh: mesh("b"), Root: logging(a), Workload: own(logging(b))}, []string{"b"}},
		"two rules of a layer":                                {Layers{Mesh: mesh(), Root: logging(a, b)}, []string{"a", "b"}},
		"off is of the rule's own providers":                  {Layers{Mesh: mesh(), Root: logging(a, b), Namespace: logging(model.Logging{Providers: []string{"a"}, Disabled: true})}, nil},
		"a rule of the other side only: the file":             {Layers{Mesh: mesh("a"), Root: logging(model.Logging{Providers: []string{"a"}, Side: model.ServerSide})}, []string{"file"}},
		"providers named for the other side take none away":   {Layers{Mesh: mesh(), Root: logging(a), Namespace: logging(model.Logging{Providers: []string{"b"}, Side: model.ServerSide})}, []string{"a"}},
		"off for the other side":                              {Layers{Mesh: mesh(), Root: logging(a), Namespace: logging(model.Logging{Disabled: true, Side: model.ServerSide})}, []string{"a"}},
		"the file is on again below":                          {Layers{Mesh: mesh(), Root: logging(off), Namespace: logging(model.Logging{})}, []string{"file"}},
		"a filter":                                            {Layers{Mesh: mesh(), Root: logging(filtered)}, []string{"a if x"}},
		"a filter stays where a rule names nothing":           {Layers{Mesh: mesh(), Root: logging(filtered), Namespace: logging(model.Logging{})}, []string{"a if x"}},
		"a filter is of the providers that its rule names":    {Layers{Mesh: mesh(), Root: logging(a), Namespace: logging(model.Logging{Filter: "x"})}, []string{"a"}},
		"a filter goes where a rule names the provider again": {Layers{Mesh: mesh(), Root: logging(filtered), Namespace: logging(a)}, []string{"a"}},
		"on again below":                                      {Layers{Mesh: mesh("a"), Root: logging(off), Workload: own(logging(model.Logging{}))}, []string{"a"}},
		"each that selects the workload is a layer":           {Layers{Mesh: mesh(), Workload: own(logging(a), logging(b))}, []string{"b"}},
		"a provider that is not there: the file":              {Layers{Mesh: mesh(), Root: logging(model.Logging{Providers: []string{"z"}})}, []string{"file"}},
	} {
		if got := formats(Merge(c.layers).Client); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", says, got, c.want)
		}
	}
}

// TestTracing holds that each field is said for itself.
func TestTracing(t *testing.T) {
	percent, yes, no := 50.0, true, false
	m := mesh()
	m.Tracing = model.Tracing{Target: "t:1", Sampling: 1, MaxPath: 9}
	root := &model.Telemetry{Tracing: []model.TracingChange{{Sampling: &percent}, {Side: model.ServerSide, Disabled: &yes}}}
	tags := []model.SpanTag{{Name: "n", Value: "v"}}
	client := &model.Telemetry{Tracing: []model.TracingChange{{Side: model.ClientSide, Provider: "u", Tags: tags}}}
	r := Merge(Layers{Mesh: m, Root: root, Workload: own(client)})
	if got := r.Client.Tracing; got.Target != "u:1" || got.Sampling != 50 || got.MaxPath != 9 || len(got.Tags) != 1 {
		t.Errorf("client: %+v", got)
	}
	if got := r.Server.Tracing; got.Target != "" || got.Sampling != 0 {
		t.Errorf("server: %+v", got)
	}
	again := &model.Telemetry{Tracing: []model.TracingChange{{Disabled: &no}}}
	if got := Merge(Layers{Mesh: m, Root: root, Workload: own(again)}).Server.Tracing; got.Target != "t:1" || got.Sampling != 50 {
		t.Errorf("on again: %+v", got)
	}
}

// TestReporting: of what layers say about an interval, the last counts.
func TestReporting(t *testing.T) {
	every := func(d time.Duration) *model.Telemetry { return &model.Telemetry{Reporting: &d} }
	for want, l := range map[time.Duration]Layers{
		0: {Mesh: mesh()}, 7 * time.Second: {Mesh: mesh(), Root: every(7 * time.Second), Workload: own(&model.Telemetry{})},
		9 * time.Second: {Mesh: mesh(), Root: every(7 * time.Second), Workload: own(every(9 * time.Second))},
	} {
		if r := Merge(l); r.Client.Reporting != want || r.Server.Reporting != want {
			t.Errorf("%s and %s, want %s", r.Client.Reporting, r.Server.Reporting, want)
		}
	}
}

// TestOf holds which layers speak for whom.
func TestOf(t *testing.T) {
	of := func(namespace, name string, selector model.Selector) *model.Telemetry {
		return &model.Telemetry{From: model.Name{Namespace: namespace, Name: name}, Selector: selector}
	}
	all := []*model.Telemetry{of("root", "r", nil), of("root", "r2", nil), of("root", "rs", model.Selector{"app": "web"}), of("shop", "s", nil),
		of("shop", "first", model.Selector{"app": "web"}), of("shop", "second", model.Selector{"app": "web"})}
	rules, lists := New(&model.Snapshot{Mesh: mesh(), Telemetries: all}), intern.New[*model.Telemetry]()
	for _, c := range []struct {
		namespace string
		labels    model.Labels
		want      []*model.Telemetry
	}{
		{"shop", model.Labels{"app": "web"}, []*model.Telemetry{all[0], all[3], all[4], all[5]}},
		{"shop", nil, []*model.Telemetry{all[0], all[3]}},
		{"root", model.Labels{"app": "web"}, []*model.Telemetry{all[0], all[2]}},
		{"bank", model.Labels{"app": "web"}, []*model.Telemetry{all[0]}},
	} {
		l := rules.Of(c.namespace, c.labels, lists)
		if got := l.list(); !slices.Equal(got, c.want) {
			t.Errorf("%s %v: %v", c.namespace, c.labels, got)
		}
		if rules.Of(c.namespace, c.labels, lists) != l {
			t.Errorf("%s %v: the same layers are not equal", c.namespace, c.labels)
		}
	}
}

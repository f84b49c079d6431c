package model

// Stdout is where proxies log; there is no other file in their image.
const Stdout = "/dev/stdout"

// BuiltinLog is the access log provider that every mesh has: standard output, in the mesh's own format.
const BuiltinLog = "envoy"

// Telemetry is what one object of that kind says about the reports of its workloads' proxies. Where several speak for a workload (the root
// namespace's, its namespace's, those that select it by age), they are laid over each other in that order.
type Telemetry struct {
	From     Name
	Selector Selector // nil: the whole namespace; in the root namespace the whole mesh
	Logging  []Logging
	Tracing  []TracingChange
	Metrics  []MetricChange
	// Reporting is how often what open TCP connections have carried is counted. Nil: it says nothing.
	Reporting *Duration
}

// Side is where a proxy stands in a request.
type Side uint8

// The sides. The zero value is both.
const (
	BothSides Side = iota
	ClientSide
	ServerSide
)

// Has reports whether s includes the one side o.
func (s Side) Has(o Side) bool { return s == BothSides || s == o }

// Logging switches access log providers on or off.
type Logging struct {
	Side      Side
	Providers []string // none: those in force
	Disabled  bool
	Filter    string // an expression of CEL that requests must meet to have a line; "": each has
}

// TracingChange changes tracing. What it does not say stays as it was.
type TracingChange struct {
	Side     Side
	Provider string   // "": as it was
	Sampling *float64 // percent
	Disabled *bool
	Tags     []SpanTag // none: as they were
	Silent   *bool     // upstreams are not told of traces
}

// SpanTag is a further attribute of spans: a text with command operators, or the value of a request's header or of a variable in the proxy's
// environment, or else Value.
type SpanTag struct{ Name, Header, Environment, Value, Format string }

// MetricChange changes metrics. What it does not say stays as it was.
type MetricChange struct {
	Side     Side
	Metric   string // by Istio's name of it; "": each
	Disabled *bool
	Removed  []string // labels to leave out, sorted
	Set      []LabelValue
}

// LabelValue is an expression of CEL that a label's value is.
type LabelValue struct{ Label, Expression string }

// LogProvider is where and how a provider logs; false: the mesh has none of that name.
func (m *Mesh) LogProvider(name string) (AccessLog, bool) {
	if log, ok := m.LogProviders[name]; ok {
		return log, true
	}
	builtin := m.AccessLog
	builtin.File = Stdout
	return builtin, name == BuiltinLog
}

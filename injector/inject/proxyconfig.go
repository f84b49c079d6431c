package inject

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
)

// ProxyConfig is how proxies run, as the mesh's settings say, one object of Istio's kind of that name, or a pod's annotation. What it does not
// say stays as it was.
type ProxyConfig struct {
	Namespace   string            // of the object
	Selector    map[string]string // of the object; none: its whole namespace, or in the root namespace the whole mesh
	Concurrency *int32            // threads; 0: one for each processor
	Environment map[string]string // further variables, of those that wire.ProxyEnvironment allows; of DNS capture "true" or "false"
	Hold        *bool             // the application starts when the proxy is ready
	Drain       time.Duration     // how long connections may go on at the end; 0: not said
	Restart     time.Duration     // how long they may once another process has taken over from the proxy; 0: not said
}

// annotationConfig holds a part of Istio's mesh-wide ProxyConfig, as YAML.
const annotationConfig = "proxy.istio.io/config"

// Fields of the annotation that are honoured.
const (
	fieldMetadata    = "proxyMetadata"
	fieldConcurrency = "concurrency"
	fieldHold        = "holdApplicationUntilProxyStarts"
	fieldDrain       = "terminationDrainDuration"
	fieldRestart     = "drainDuration"
	fieldImage       = "image"
)

func honouredFields() []string {
	return []string{fieldMetadata, fieldConcurrency, fieldHold, fieldDrain, fieldRestart, fieldImage}
}

// readConfig lays over each other what speaks for a pod. The object that selects it goes last, as in Istio.
func (s *settings) readConfig(r Request, p Params) error {
	own, err := readAnnotation(r.Pod.Annotations[annotationConfig])
	if err != nil {
		return fmt.Errorf("annotation %s: %w", annotationConfig, err)
	}
	s.config = ProxyConfig{Drain: p.DrainDuration, Hold: new(true), Environment: map[string]string{}}
	s.config.lay(&p.Proxy)
	s.config.lay(p.speaker(p.RootNamespace, nil))
	if r.Namespace != p.RootNamespace {
		s.config.lay(p.speaker(r.Namespace, nil))
	}
	s.config.lay(own)
	if len(r.Pod.Labels) > 0 {
		s.config.lay(p.speaker(r.Namespace, r.Pod.Labels))
	}
	s.dns, s.allocate, s.onDemand = p.DNSCapture, p.DNSAllocate, p.OnDemand
	if value, err := parseBool(r.NamespaceLabels[wire.OnDemandLabel]); err == nil {
		s.onDemand = value
	}
	for name, to := range map[string]*bool{wire.EnvDNSCapture: &s.dns, wire.EnvDNSAutoAllocate: &s.allocate, wire.EnvOnDemand: &s.onDemand} {
		if value, said := s.config.Environment[name]; said {
			*to = value == "true"
			delete(s.config.Environment, name)
		}
	}
	if s.dns && s.capture.DNS == "" {
		s.capture.DNS = wire.DNSPod
	}
	if !s.dns {
		s.capture.DNS = ""
	}
	return nil
}

// unreadable names the namespace's label where it says nothing: it must not keep pods from being made.
func unreadable(labels map[string]string) []string {
	value, said := labels[wire.OnDemandLabel]
	if _, err := parseBool(value); !said || err == nil {
		return nil
	}
	return []string{fmt.Sprintf("label %s of the namespace: %q is neither true nor false, and has no effect", wire.OnDemandLabel, value)}
}

// lay adds what over, which may be nil, says.
func (c *ProxyConfig) lay(over *ProxyConfig) {
	if over == nil {
		return
	}
	if over.Concurrency != nil {
		c.Concurrency = over.Concurrency
	}
	if over.Hold != nil {
		c.Hold = over.Hold
	}
	if over.Drain != 0 {
		c.Drain = over.Drain
	}
	if over.Restart != 0 {
		c.Restart = over.Restart
	}
	maps.Copy(c.Environment, over.Environment)
}

// speaker is the oldest object of a namespace for pods of these labels, or, without labels, for all of it; nil: there is none.
func (p *Params) speaker(namespace string, labels map[string]string) *ProxyConfig {
	for i := range p.ProxyConfigs {
		c := &p.ProxyConfigs[i]
		if c.Namespace == namespace && (len(c.Selector) > 0) == (labels != nil) && selects(c.Selector, labels) {
			return c
		}
	}
	return nil
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// readAnnotation reads a pod's own part. Fields without effect are left to unusedConfig.
func readAnnotation(text string) (*ProxyConfig, error) {
	fields := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		return nil, err
	}
	out := &ProxyConfig{Environment: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := out.read(name, fields[name]); err != nil {
			return nil, fmt.Errorf("%s%w", name, err)
		}
	}
	return out, nil
}

// read reads one field. Its error continues the field's name.
func (c *ProxyConfig) read(name string, value any) error {
	switch name {
	case fieldConcurrency:
		n, err := strconv.ParseFloat(fmt.Sprint(value), 64) // as a number or as text, both of which are protobuf's JSON
		if err != nil || n < 0 || n > math.MaxInt16 || n != math.Trunc(n) {
			return fmt.Errorf(": %v is no number of threads", value)
		}
		c.Concurrency = new(int32(n))
	case fieldHold:
		hold, ok := value.(bool)
		if !ok {
			return fmt.Errorf(": %v is neither true nor false", value)
		}
		c.Hold = &hold
	case fieldDrain, fieldRestart:
		drain, err := time.ParseDuration(fmt.Sprint(value))
		if err != nil || drain <= 0 {
			return fmt.Errorf(": %v is no duration", value)
		}
		if name == fieldDrain {
			c.Drain = drain
		} else {
			c.Restart = drain
		}
	case fieldImage:
		image, ok := value.(map[string]any)
		if kind := image["imageType"]; !ok || kind != nil && kind != "" && kind != "default" && kind != "distroless" {
			return fmt.Errorf(".imageType: %v: there is one image, which is distroless", image["imageType"])
		}
	case fieldMetadata:
		return c.readMetadata(value)
	}
	return nil
}

func (c *ProxyConfig) readMetadata(value any) error {
	metadata, ok := value.(map[string]any)
	if !ok && value != nil {
		return fmt.Errorf(": not a map of names to values")
	}
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		text := fmt.Sprint(metadata[name])
		switch {
		case name == wire.EnvDNSCapture || name == wire.EnvDNSAutoAllocate || name == wire.EnvOnDemand:
			yes, err := parseBool(text)
			if err != nil {
				return fmt.Errorf(".%s: %w", name, err)
			}
			c.Environment[name] = fmt.Sprint(yes)
		case wire.ProxyEnvironment(name):
			c.Environment[name] = text
		}
	}
	return nil
}

// unusedConfig names the fields of the annotation that do nothing here. One that cannot be read is refused elsewhere.
func unusedConfig(text string) []string {
	config := map[string]any{}
	if yaml.Unmarshal([]byte(text), &config) != nil {
		return nil
	}
	var out []string
	warn := func(field string) {
		out = append(out, fmt.Sprintf("annotation %s: %s has no effect in this mesh", annotationConfig, field))
	}
	for _, field := range slices.Sorted(maps.Keys(config)) {
		if !slices.Contains(honouredFields(), field) {
			warn(field)
		}
	}
	metadata, _ := config[fieldMetadata].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		if !wire.ProxyEnvironment(name) {
			warn(fieldMetadata + "." + name)
		}
	}
	return out
}

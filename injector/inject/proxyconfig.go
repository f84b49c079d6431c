package inject

import (
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
)

// annotationConfig holds a part of Istio's ProxyConfig, as YAML, of which proxyMetadata's settings of DNS and of discovery on demand are honoured.
const annotationConfig = "proxy.istio.io/config"

const metadataField = "proxyMetadata"

// readConfig reads what a pod's annotation says of DNS, or else the mesh does; and of discovery on demand, with the namespace between them.
func (s *settings) readConfig(text string, labels map[string]string, p Params) error {
	s.dns, s.allocate, s.onDemand = p.DNSCapture, p.DNSAllocate, p.OnDemand
	if value, err := parseBool(labels[wire.OnDemandLabel]); err == nil {
		s.onDemand = value
	}
	config := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return fmt.Errorf("annotation %s: %w", annotationConfig, err)
	}
	metadata, ok := config[metadataField].(map[string]any)
	if !ok && config[metadataField] != nil {
		return fmt.Errorf("annotation %s: %s: not a map of names to values", annotationConfig, metadataField)
	}
	for name, to := range map[string]*bool{wire.EnvDNSCapture: &s.dns, wire.EnvDNSAutoAllocate: &s.allocate, wire.EnvOnDemand: &s.onDemand} {
		value, said := metadata[name]
		if !said {
			continue
		}
		var err error
		if *to, err = parseBool(fmt.Sprint(value)); err != nil {
			return fmt.Errorf("annotation %s: %s.%s: %w", annotationConfig, metadataField, name, err)
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
		if field != metadataField {
			warn(field)
		}
	}
	metadata, _ := config[metadataField].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		if name != wire.EnvDNSCapture && name != wire.EnvDNSAutoAllocate && name != wire.EnvOnDemand {
			warn(metadataField + "." + name)
		}
	}
	return out
}

package inject

import (
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
)

// annotationConfig holds a part of Istio's ProxyConfig, as YAML, of which proxyMetadata's settings of DNS are honoured.
const annotationConfig = "proxy.istio.io/config"

const metadataField = "proxyMetadata"

// readConfig reads what a pod's annotation says of DNS, or else the mesh does.
func (s *settings) readConfig(text string, p Params) error {
	s.dns, s.allocate = p.DNSCapture, p.DNSAllocate
	config := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return fmt.Errorf("annotation %s: %w", annotationConfig, err)
	}
	metadata, ok := config[metadataField].(map[string]any)
	if !ok && config[metadataField] != nil {
		return fmt.Errorf("annotation %s: %s: not a map of names to values", annotationConfig, metadataField)
	}
	for name, to := range map[string]*bool{wire.EnvDNSCapture: &s.dns, wire.EnvDNSAutoAllocate: &s.allocate} {
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
		if name != wire.EnvDNSCapture && name != wire.EnvDNSAutoAllocate {
			warn(metadataField + "." + name)
		}
	}
	return out
}

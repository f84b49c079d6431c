package install

import (
	"maps"
	"slices"
	"sort"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Lacks names what have does not offer of want: served versions, and fields of versions that both serve (as
// "v1 spec.http[].retries"; of a field that is missing, its own fields are not named).
func Lacks(have, want *extensions.CustomResourceDefinition) []string {
	var missing []string
	for _, version := range want.Spec.Versions {
		if !version.Served {
			continue
		}
		at := slices.IndexFunc(have.Spec.Versions, func(v extensions.CustomResourceDefinitionVersion) bool {
			return v.Name == version.Name && v.Served
		})
		if at < 0 {
			missing = append(missing, "version "+version.Name)
			continue
		}
		var fields []string
		compare("", schema(have.Spec.Versions[at]), schema(version), &fields)
		sort.Strings(fields)
		for _, field := range fields {
			missing = append(missing, version.Name+" "+field)
		}
	}
	return missing
}

func schema(v extensions.CustomResourceDefinitionVersion) *extensions.JSONSchemaProps {
	if v.Schema == nil {
		return nil
	}
	return v.Schema.OpenAPIV3Schema
}

// open reports whether a schema takes fields that it does not name.
func open(s *extensions.JSONSchemaProps) bool {
	return s == nil || s.XPreserveUnknownFields != nil && *s.XPreserveUnknownFields
}

func compare(path string, have, want *extensions.JSONSchemaProps, missing *[]string) {
	if want == nil || open(have) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(want.Properties)) {
		field := name
		if path != "" {
			field = path + "." + name
		}
		theirs, ok := have.Properties[name]
		if !ok {
			*missing = append(*missing, field)
			continue
		}
		ours := want.Properties[name]
		compare(field, &theirs, &ours, missing)
	}
	if want.Items != nil && want.Items.Schema != nil && have.Items != nil {
		compare(path+"[]", have.Items.Schema, want.Items.Schema, missing)
	}
	if want.AdditionalProperties != nil && want.AdditionalProperties.Schema != nil && have.AdditionalProperties != nil {
		compare(path+"{}", have.AdditionalProperties.Schema, want.AdditionalProperties.Schema, missing)
	}
}

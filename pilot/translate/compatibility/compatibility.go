// Package compatibility writes docs/compatibility.md: what becomes of each field of Istio's API, and of Kubernetes' Ingress. It says what the tables say by which
// translation itself accepts and refuses, and does no I/O.
package compatibility

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/translate/fields"
	"github.com/heddle-mesh/heddle/pilot/translate/ingress"
	"github.com/heddle-mesh/heddle/pilot/translate/istioapi"
	"github.com/heddle-mesh/heddle/pilot/translate/mesh"
	"github.com/heddle-mesh/heddle/pilot/translate/security"
)

const introduction = `# Compatibility with Istio's API

What becomes of each field. **yes**: it works, in the control plane and in the proxies. **differs**: it works, but not in each value or not
just as in Istio; the note says how. **no**: an object that sets it is refused when it is applied, with the field's path and this reason.
Nothing is ignored silently. Of the mesh's settings (MeshConfig), one that is refused is reported, and its default stays in force.

This file is made from the tables by which objects are accepted and refused; do not edit it. To make it anew:
` + "`go test ./pilot/translate/compatibility -update`.\n"

// Kinds are the kinds of which something is honoured.
func Kinds() []fields.Kind {
	return slices.Concat(istioapi.Kinds(), ingress.Kinds(), security.Kinds(), mesh.Kinds())
}

// Document returns the text.
func Document() []byte {
	var out bytes.Buffer
	out.WriteString(introduction)
	out.WriteString("\n## Kinds that are refused as a whole\n\n")
	for _, k := range inputs.Kinds() {
		if !k.Implemented {
			fmt.Fprintf(&out, "* %s (%s)\n", k.Kind, k.Group)
		}
	}
	for _, k := range Kinds() {
		rows := k.Rows()
		count := map[fields.Verdict]int{}
		for _, r := range rows {
			count[r.Verdict]++
		}
		fmt.Fprintf(&out, "\n## %s\n\n%d rows: %d yes, %d differ, %d no.\n\n| field | | |\n| --- | --- | --- |\n",
			k.Name, len(rows), count[fields.Yes], count[fields.Differs], count[fields.No])
		for _, r := range rows {
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", r.Path, r.Verdict, r.Why)
		}
	}
	return out.Bytes()
}

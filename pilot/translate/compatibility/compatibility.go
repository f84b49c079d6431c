// Package compatibility writes docs/compatibility.md: what becomes of each field of Istio's API, and of Kubernetes' Ingress. It says what the tables say by which
// translation itself accepts and refuses, and does no I/O.
package compatibility

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

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
Of these kinds, nothing is ignored silently: what is accepted and without effect is told of by a warning or by the
note. Of the mesh's settings (MeshConfig), one that is refused is reported, and its default stays in force.

This file is made from the tables by which objects are accepted and refused; do not edit it. To make it anew:
` + "`go test ./pilot/translate/compatibility -update`.\n"

// others is what is said of kinds that have no table.
const others = `
## Kinds that are not read

Those of the Gateway API (gateway.networking.k8s.io: Gateway, HTTPRoute and the rest). Nobody refuses them, but this version does not obey them yet, and
writes no status of theirs.

## Kubernetes' Services

* "sessionAffinity" is not read, as in Istio: proxies choose the endpoint of each request or connection. What ClientIP asks for, a DestinationRule says:
  "loadBalancer.consistentHash.useSourceIp". Clients without a proxy are served by Kubernetes, which honours it.
* Ports of UDP are not carried, as in Istio: what is sent there goes its way without a proxy.
* Ports of "mongo", "mysql" and "redis", named so or by "appProtocol", are carried as TCP, with its metrics, access logs, routes and policies: nothing reads or
  counts their commands. In Istio, too, the filters for MySQL and Redis are off unless asked for; that for MongoDB is on, and counts.
`

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
	out.WriteString(strings.ReplaceAll(others, `"`, "`"))
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

package values

import (
	"strings"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// GatewayForm is how a reference to a gateway is written.
type GatewayForm int

const (
	NoGateway    GatewayForm = iota // it names none
	PlainGateway                    // name, namespace/name, or mesh
	OlderGateway                    // name.namespace, and what may follow: the name of a host
)

// Gateway resolves a reference to a gateway from a namespace, to namespace/name or mesh.
func Gateway(reference, from string) (id string, form GatewayForm) {
	if reference == model.MeshGateway {
		return reference, PlainGateway
	}
	namespace, name, ok := strings.Cut(reference, "/")
	form = PlainGateway
	switch {
	case !ok && strings.Contains(reference, "."):
		form = OlderGateway
		name, namespace, _ = strings.Cut(reference, ".")
		namespace, _, _ = strings.Cut(namespace, ".")
	case !ok:
		namespace, name = from, reference
	case namespace == ".":
		namespace = from
	}
	if namespace == "" || name == "" || strings.Contains(name, "/") {
		form = NoGateway
	}
	return namespace + "/" + name, form
}

package ingress

import (
	"reflect"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/heddle-mesh/heddle/pilot/translate/fields"
)

// Kinds says what becomes of each field of the kinds of networking.k8s.io.
func Kinds() []fields.Kind {
	return []fields.Kind{ingresses(), classes()}
}

func ingresses() fields.Kind {
	return fields.Kind{Name: "Ingress", Struct: reflect.TypeFor[networkingv1.IngressSpec](),
		Honoured: fields.New("ingressClassName", "{defaultBackend,rules.http.paths.backend}.service.{name,port.{name,number}}", "tls.{hosts,secretName}",
			"rules.{host,http.paths.{path,pathType}}"),
		Refused: []fields.Note{{Path: "{defaultBackend,rules.http.paths.backend}.resource", Why: "a Service is expected"}},
		Differs: []fields.Note{
			{Path: "defaultBackend", Why: "used, as Kubernetes says, where no rule matches: for the hosts of its own Ingress, and the oldest one for all others. Istio ignores it"},
			{Path: "tls.secretName", Why: "a Secret in the Ingress's namespace, as Kubernetes says, where the gateway's account may read it. Istio looks in the gateway's namespace"},
			{Path: "rules.host", Why: "`*.` stands for one label, as Kubernetes says. In Istio it stands for any number"},
			{Path: "rules.http.paths.pathType", Why: "ImplementationSpecific is a prefix where the path ends in `.*` or `/*`, and exact otherwise, as in Istio"},
		},
	}
}

func classes() fields.Kind {
	return fields.Kind{Name: "IngressClass", Struct: reflect.TypeFor[networkingv1.IngressClassSpec](), Honoured: fields.New("controller"),
		Refused: []fields.Note{{Path: "parameters", Why: "the mesh's settings say which gateways serve Ingresses"}},
		Differs: []fields.Note{{Path: "controller", Why: "`heddle.dev/ingress-controller`"}},
	}
}

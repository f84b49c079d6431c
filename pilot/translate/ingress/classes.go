package ingress

import (
	"cmp"
	"slices"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
)

// defaultAnnotation makes an IngressClass the one of Ingresses that name none. The API server writes the name into those that come later.
const defaultAnnotation = "ingressclass.kubernetes.io/is-default-class"

// ReadClass judges an IngressClass. Those of other controllers are nothing to say about.
func ReadClass(o *inputs.IngressClass) []report.Issue {
	if o.Spec.Controller != wire.IngressControllerName {
		return nil
	}
	log := &report.Log{}
	for _, p := range o.Problems {
		log.Errorf(p.Path, "%s", p.Reason)
	}
	if o.Spec.Parameters != nil {
		log.Errorf("spec.parameters", "not implemented by this version: the mesh's settings say which gateways serve Ingresses")
	}
	return log.Issues
}

// Classes finds out which classes are the mesh's. Of several default classes the youngest counts, as in the API server.
func Classes(all []*inputs.IngressClass) model.IngressClasses {
	out := model.IngressClasses{Mine: map[string]bool{}, Refused: map[string]string{}}
	var standard *inputs.IngressClass
	for _, c := range all {
		if c.Annotations[defaultAnnotation] == "true" && (standard == nil || younger(c, standard)) {
			standard = c
		}
		if c.Spec.Controller != wire.IngressControllerName {
			continue
		}
		issues := ReadClass(c)
		if i := slices.IndexFunc(issues, func(i report.Issue) bool { return i.Severity == report.Error }); i >= 0 {
			out.Refused[c.Name] = issues[i].Path + ": " + issues[i].Reason
			continue
		}
		out.Mine[c.Name] = true
	}
	out.Default = standard != nil && out.Mine[standard.Name]
	return out
}

func younger(a, b *inputs.IngressClass) bool {
	return cmp.Or(cmp.Compare(b.CreationTimestamp.Unix(), a.CreationTimestamp.Unix()), cmp.Compare(a.Name, b.Name)) < 0
}

// Mine reports whether an Ingress is the mesh's to serve. The annotation wins over spec.ingressClassName, as in Istio.
func Mine(o *inputs.Ingress, mesh *model.Mesh, classes *model.IngressClasses) bool {
	if mesh.Ingress.Off {
		return false
	}
	if class, says := o.Annotations[wire.IngressClassAnnotation]; says {
		return class == mesh.Ingress.Class
	}
	if name := o.Spec.IngressClassName; name != nil {
		_, refused := classes.Refused[*name]
		return refused || classes.Mine[*name]
	}
	return mesh.Ingress.Classless || classes.Default
}

// Package analyze says what is wrong with objects in files or in a cluster: by the very checks of the validating webhook and of the
// status, and by what the survey of namespaces, pods, Services and Secrets finds, under the codes of Istio's analysis. It knows no rule of its own and
// changes nothing.
package analyze

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/meshctl/replica"
	"github.com/heddle-mesh/heddle/meshctl/survey"
	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/source"
	"github.com/heddle-mesh/heddle/pilot/translate"
)

// Finding is one thing to say about one object.
type Finding struct {
	Severity  string `json:"severity"` // error | partial | warning
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Path      string `json:"path,omitempty"`
	Code      string `json:"code,omitempty"`    // of Istio's analysis: IST0101
	Message   string `json:"message,omitempty"` // its name for that: ReferencedResourceNotFound
	Reason    string `json:"reason"`
}

func finding(r report.Ref, i report.Issue) Finding {
	return Finding{i.Severity.String(), r.Kind, r.Namespace, r.Name, i.Path, string(i.Known()), i.Known().Message(), i.Reason}
}

// Text is a file and where it came from.
type Text struct {
	Name    string
	Content []byte
}

// ref names an object among those of files and cluster.
type ref struct{ kind, namespace, name string }

// Analyze judges the objects of files among those of around, which may be nil. Without files it judges what is around. Namespace is
// that of objects in files that name none. From is what more the cluster tells.
func Analyze(files []Text, namespace string, around *inputs.Inputs, from survey.Sources) ([]Finding, error) {
	in := around
	if in == nil {
		in = &inputs.Inputs{Mesh: source.DefaultMesh()}
	}
	mine, err := read(files, namespace)
	if err != nil {
		return nil, err
	}
	of := refs(mine)
	overlay(in, mine, of)
	replica.Installed(in, from.Params())
	running(in, files, namespace, from.Params())
	snapshot, all := translate.Translate(in, nil)
	found := []Finding{} // none is an empty list in JSON too
	for _, u := range in.Unreadable {
		found = append(found, finding(report.Ref{Kind: u.Kind, Namespace: u.Namespace, Name: u.Name}, report.Issue{Severity: report.Error, Path: u.Problem.Path, Reason: u.Problem.Reason}))
	}
	for _, e := range all.Entries {
		if len(files) > 0 && !of[ref{e.Ref.Kind, e.Ref.Namespace, e.Ref.Name}] {
			continue
		}
		for _, i := range e.Issues {
			found = append(found, finding(e.Ref, i))
		}
	}
	from.Secrets = secretsAmong(files, namespace, from.Secrets)
	for _, f := range survey.Look(in, snapshot, from) {
		if len(files) == 0 || of[ref{f.Ref.Kind, f.Ref.Namespace, f.Ref.Name}] {
			found = append(found, finding(f.Ref, f.Issue))
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(found), nil
}

// In keeps the findings about a namespace and its objects; "" keeps all.
func In(found []Finding, namespace string) []Finding {
	return slices.DeleteFunc(found, func(f Finding) bool {
		return namespace != "" && f.Namespace != namespace && (f.Kind != "Namespace" || f.Name != namespace)
	})
}

// read joins the objects of files.
func read(files []Text, namespace string) (*inputs.Inputs, error) {
	all := &inputs.Inputs{Mesh: source.DefaultMesh()}
	for _, file := range files {
		in, err := source.FromYAMLIn(file.Content, namespace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name, err)
		}
		for _, o := range objects(in) {
			all.Add(o)
		}
		all.Namespaces = append(all.Namespaces, in.Namespaces...)
		all.Services = append(all.Services, in.Services...)
		all.Unreadable = append(all.Unreadable, in.Unreadable...)
		if !in.Mesh.Silent() {
			all.Mesh = in.Mesh
		}
	}
	return all, nil
}

// objects are the configuration objects of in.
func objects(in *inputs.Inputs) []inputs.Object {
	var all []inputs.Object
	all = collect(all, in.VirtualServices)
	all = collect(all, in.DestinationRules)
	all = collect(all, in.Gateways)
	all = collect(all, in.ServiceEntries)
	all = collect(all, in.WorkloadEntries)
	all = collect(all, in.Sidecars)
	all = collect(all, in.PeerAuthentications)
	all = collect(all, in.AuthorizationPolicies)
	all = collect(all, in.Telemetries)
	all = collect(all, in.ProxyConfigs)
	all = collect(all, in.WorkloadGroups)
	all = collect(all, in.Ingresses)
	all = collect(all, in.IngressClasses)
	return collect(all, in.Unimplemented)
}

func collect[S any](all []inputs.Object, list []*inputs.Config[S]) []inputs.Object {
	for _, o := range list {
		all = append(all, o)
	}
	return all
}

func refs(in *inputs.Inputs) map[ref]bool {
	of := map[ref]bool{}
	for _, o := range objects(in) {
		of[refOf(o)] = true
	}
	for _, s := range in.Services {
		of[ref{"Service", s.Namespace, s.Name}] = true
	}
	for _, n := range in.Namespaces {
		of[ref{"Namespace", "", n.Name}] = true
	}
	if !in.Mesh.Silent() {
		of[ref{"ConfigMap", in.Mesh.Namespace, wire.MeshConfigMap}] = true
	}
	return of
}

func refOf(o inputs.Object) ref {
	return ref{o.GetObjectKind().GroupVersionKind().Kind, o.GetNamespace(), o.GetName()}
}

// overlay lays mine over what is in in: an object of a file stands for the one of its name.
func overlay(in, mine *inputs.Inputs, of map[ref]bool) {
	kept := objects(in)
	in.VirtualServices, in.DestinationRules, in.Gateways, in.ServiceEntries, in.WorkloadEntries, in.Sidecars = nil, nil, nil, nil, nil, nil
	in.PeerAuthentications, in.AuthorizationPolicies, in.Telemetries, in.Unimplemented = nil, nil, nil, nil
	in.Ingresses, in.IngressClasses, in.ProxyConfigs, in.WorkloadGroups = nil, nil, nil, nil
	for _, o := range kept {
		if !of[refOf(o)] {
			in.Add(o)
		}
	}
	for _, o := range objects(mine) {
		in.Add(o)
	}
	in.Services = slices.DeleteFunc(in.Services, func(s *core.Service) bool { return of[ref{"Service", s.Namespace, s.Name}] })
	in.Services = append(in.Services, mine.Services...)
	in.Namespaces = slices.DeleteFunc(in.Namespaces, func(n *core.Namespace) bool { return of[ref{"Namespace", "", n.Name}] })
	in.Namespaces = append(in.Namespaces, mine.Namespaces...)
	in.Unreadable = append(in.Unreadable, mine.Unreadable...)
	if !mine.Mesh.Silent() {
		settings := in.Mesh.SettingsOf(mine.Mesh)
		in.Mesh = &settings
	}
}

// FromCluster reads what a cluster holds of what analysis looks at.
func FromCluster(ctx context.Context, kube kubernetes.Interface, objects dynamic.Interface) (*inputs.Inputs, error) {
	var stream bytes.Buffer
	if err := coreObjects(ctx, kube, &stream); err != nil {
		return nil, err
	}
	for _, k := range inputs.Kinds() {
		list, err := objects.Resource(schema.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Resource}).List(ctx, meta.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing %s.%s: %w", k.Resource, k.Group, err)
		}
		for n := range list.Items {
			if err := write(&stream, list.Items[n].Object); err != nil {
				return nil, err
			}
		}
	}
	return source.FromYAML(stream.Bytes())
}

func coreObjects(ctx context.Context, kube kubernetes.Interface, stream io.Writer) error {
	namespaces, err := kube.CoreV1().Namespaces().List(ctx, meta.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing namespaces: %w", err)
	}
	services, err := kube.CoreV1().Services(meta.NamespaceAll).List(ctx, meta.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing services: %w", err)
	}
	var errs []error
	for n := range namespaces.Items {
		namespaces.Items[n].TypeMeta = meta.TypeMeta{APIVersion: "v1", Kind: "Namespace"}
		errs = append(errs, write(stream, &namespaces.Items[n]))
	}
	for n := range services.Items {
		services.Items[n].TypeMeta = meta.TypeMeta{APIVersion: "v1", Kind: "Service"}
		errs = append(errs, write(stream, &services.Items[n]))
	}
	settings, err := kube.CoreV1().ConfigMaps(wire.SystemNamespace).Get(ctx, wire.MeshConfigMap, meta.GetOptions{})
	switch {
	case err == nil:
		settings.TypeMeta = meta.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
		errs = append(errs, write(stream, settings))
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading ConfigMap %s/%s: %w", wire.SystemNamespace, wire.MeshConfigMap, err)
	}
	return errors.Join(errs...)
}

func write(stream io.Writer, object any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("writing an object: %w", err)
	}
	_, err = fmt.Fprintf(stream, "---\n%s\n", text)
	return err
}

// Errors reports whether anything was found that keeps an object out.
func Errors(found []Finding) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == report.Error.String() })
}

// Table writes findings for people.
func Table(w io.Writer, found []Finding) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "nothing to say")
		return err
	}
	rows := make([][]string, 0, len(found))
	for _, f := range found {
		rows = append(rows, []string{strings.ToUpper(f.Severity), f.Code, f.Kind, strings.TrimPrefix(f.Namespace+"/"+f.Name, "/"), f.Path, f.Reason})
	}
	return output.Table(w, []string{"SEVERITY", "CODE", "KIND", "OBJECT", "PATH", "REASON"}, rows)
}

package install

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	chartcommon "helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/kube"
	admission "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/manifests"
)

// TagConfiguration is what the webhook configuration of a tag is called, with the tag behind it.
const TagConfiguration = "heddle-tag"

// Tag is another name of a revision, which namespaces and pods are labelled with.
type Tag struct {
	Name       string   `json:"tag"`
	Revision   string   `json:"revision"`
	Namespaces []string `json:"namespaces,omitempty"` // that are labelled with it
	// Trusted is whether the API server knows the mesh's present root by it: pods could not start otherwise.
	Trusted bool `json:"trusted"`
}

// Errors of tags, wrapped.
var (
	ErrTagTaken = errors.New("the tag is there already")
	ErrNoTag    = errors.New("there is no such tag")
)

// Tags returns the tags of the cluster, by name.
func (i *Installer) Tags(ctx context.Context) ([]Tag, error) {
	list, err := i.cluster.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, meta.ListOptions{LabelSelector: wire.TagLabel})
	if err != nil {
		return nil, fmt.Errorf("listing tags: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	root, err := i.root(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Tag, 0, len(list.Items))
	for n := range list.Items {
		labels := list.Items[n].Labels
		t := Tag{Name: labels[wire.TagLabel], Revision: labels[wire.RevisionLabel]}
		t.Trusted = !slices.ContainsFunc(list.Items[n].Webhooks, func(h admission.MutatingWebhook) bool {
			return len(root) == 0 || !bytes.Equal(h.ClientConfig.CABundle, root)
		})
		if t.Namespaces, err = i.labelled(ctx, t.Name); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// root is the mesh's root as it is published; nil where it is not.
func (i *Installer) root(ctx context.Context) ([]byte, error) {
	m, err := i.cluster.Kube.CoreV1().ConfigMaps(wire.SystemNamespace).Get(ctx, wire.RootConfigMap, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", wire.SystemNamespace, wire.RootConfigMap, err)
	}
	return []byte(m.Data[wire.RootConfigMapKey]), nil
}

// GenerateTag returns the webhook configuration by which a tag stands for the revision that is meant.
func (i *Installer) GenerateTag(ctx context.Context, name string) (*admission.MutatingWebhookConfiguration, error) {
	if err := revision.Check(name); err != nil {
		return nil, err
	}
	revisions, err := i.Revisions(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case revisions[name] != nil && name != wire.DefaultRevision:
		return nil, fmt.Errorf("there is a revision %s: a label could mean either", name)
	case name == wire.DefaultRevision && revision.IsDefault(i.options.Revision):
		return nil, errors.New("tag default: that it stands for the default revision is so without a tag: meshctl tag remove default")
	}
	if err := i.installed(ctx, i.options.Revision); err != nil {
		return nil, err
	}
	root, err := i.root(ctx)
	if err != nil {
		return nil, err
	}
	if len(root) == 0 {
		return nil, fmt.Errorf("the mesh's root is not published yet: there is no ConfigMap %s/%s", wire.SystemNamespace, wire.RootConfigMap)
	}
	out, err := i.injector(ctx, name)
	if err != nil {
		return nil, err
	}
	for n := range out.Webhooks {
		out.Webhooks[n].ClientConfig.CABundle = root
	}
	return out, nil
}

// injector renders the injector's webhook configuration of the revision that is meant, or of a tag of it, out of the chart: which pods webhooks are
// asked about is said there alone.
func (i *Installer) injector(ctx context.Context, tag string) (*admission.MutatingWebhookConfiguration, error) {
	c, err := manifests.Chart(manifests.ControlPlane, i.options.Version)
	if err != nil {
		return nil, err
	}
	plane, values, err := i.plane(i.named(Release))
	if err != nil {
		return nil, err
	}
	given := map[string]any{"tag": tag}
	if !revision.IsDefault(i.options.Revision) {
		given["revision"] = i.options.Revision
	}
	if plane != nil {
		if always, err := values.PathValue("proxy.alwaysInjectSelector"); err == nil { // a control plane of another version may not have it
			given["proxy"] = map[string]any{"alwaysInjectSelector": always}
		}
		if istio, err := values.PathValue("compatibility.istio"); err == nil { // likewise
			given["compatibility"] = map[string]any{"istio": istio}
		}
	}
	all, err := util.ToRenderValues(c, given, chartcommon.ReleaseOptions{Name: Release, Namespace: wire.SystemNamespace}, chartcommon.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("preparing the values of chart %s: %w", c.Metadata.Name, err)
	}
	files, err := (engine.Engine{Strict: true}).RenderWithContext(ctx, c, all)
	if err != nil {
		return nil, fmt.Errorf("rendering chart %s: %w", c.Metadata.Name, err)
	}
	text, _, _ := strings.Cut(files[c.Metadata.Name+"/templates/webhooks.yaml"], "\n---\n")
	out := &admission.MutatingWebhookConfiguration{}
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		return nil, fmt.Errorf("reading the webhooks of chart %s: %w", c.Metadata.Name, err)
	}
	return out, nil
}

// SetTag has a tag stand for the revision that is meant. One that stands for another is moved only where overwrite says so.
func (i *Installer) SetTag(ctx context.Context, name string, overwrite bool) error {
	want, err := i.GenerateTag(ctx, name)
	if err != nil {
		return err
	}
	configurations := i.cluster.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	have, err := configurations.Get(ctx, want.Name, meta.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = configurations.Create(ctx, want, meta.CreateOptions{FieldManager: fieldManager})
	case err != nil:
		return fmt.Errorf("reading webhook configuration %s: %w", want.Name, err)
	case have.Labels[wire.RevisionLabel] != want.Labels[wire.RevisionLabel] && !overwrite:
		return fmt.Errorf("%w: %s stands for revision %s; --overwrite moves it", ErrTagTaken, name, have.Labels[wire.RevisionLabel])
	default:
		want.ResourceVersion = have.ResourceVersion
		_, err = configurations.Update(ctx, want, meta.UpdateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		return fmt.Errorf("writing webhook configuration %s: %w", want.Name, err)
	}
	if name == wire.DefaultRevision {
		if err := i.yield(ctx); err != nil {
			return err
		}
	}
	i.steps.done("tag %s stands for revision %s", name, want.Labels[wire.RevisionLabel])
	return nil
}

// yield takes the default revision's webhooks away, since the tag "default" has what would be theirs. The chart leaves them out as long as the tag is
// there, and leaves them be.
func (i *Installer) yield(ctx context.Context) error {
	configurations := i.cluster.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	have, err := configurations.Get(ctx, InjectorConfiguration, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading webhook configuration %s: %w", InjectorConfiguration, err)
	}
	have.Webhooks = nil
	if _, err := configurations.Update(ctx, have, meta.UpdateOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("writing webhook configuration %s: %w", InjectorConfiguration, err)
	}
	return nil
}

// resume gives the default revision its webhooks back, as Helm would, so that a later upgrade finds them its own.
func (i *Installer) resume(ctx context.Context) error {
	configurations := i.cluster.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations()
	have, err := configurations.Get(ctx, InjectorConfiguration, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading webhook configuration %s: %w", InjectorConfiguration, err)
	}
	first := i.Of("")
	want, err := first.injector(ctx, "")
	if err != nil {
		return err
	}
	want.Labels, want.Annotations = have.Labels, have.Annotations
	body, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("marshalling webhook configuration %s: %w", want.Name, err)
	}
	force := true
	_, err = configurations.Patch(ctx, want.Name, types.ApplyPatchType, body, meta.PatchOptions{FieldManager: cmp.Or(kube.ManagedFieldsManager, fieldManager), Force: &force})
	if err != nil {
		return fmt.Errorf("applying webhook configuration %s: %w", want.Name, err)
	}
	return first.webhooksTrusted(ctx)
}

// RemoveTag deletes a tag. Where namespaces are labelled with it, whose pods would start without a proxy, it has to be forced; the tag "default"
// leaves what was its to the default revision.
func (i *Installer) RemoveTag(ctx context.Context, name string, force bool) error {
	tags, err := i.Tags(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(tags, func(t Tag) bool { return t.Name == name })
	if at < 0 {
		return fmt.Errorf("%w: %s", ErrNoTag, name)
	}
	if name == wire.DefaultRevision {
		if err := i.resume(ctx); err != nil {
			return err
		}
	} else if labelled := tags[at].Namespaces; len(labelled) > 0 && !force {
		return fmt.Errorf("%w: %d namespaces are labelled %s=%s (%s), and their pods would start without a proxy; label them otherwise first, or use --force",
			ErrInUse, len(labelled), wire.RevisionLabel, name, brief(labelled))
	}
	err = i.cluster.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, TagConfiguration+"-"+name, meta.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting webhook configuration %s-%s: %w", TagConfiguration, name, err)
	}
	i.steps.done("tag %s removed", name)
	return nil
}

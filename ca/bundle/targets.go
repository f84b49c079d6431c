package bundle

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/heddle-mesh/heddle/api/wire"
)

const (
	kindNamespace  = "Namespace"
	kindMutating   = "MutatingWebhookConfiguration"
	kindValidating = "ValidatingWebhookConfiguration"
)

// Label of the webhook configurations that are ours.
const (
	WebhookLabel      = "app"
	WebhookLabelValue = "heddled"
)

// ManagedByLabel marks the ConfigMaps that are ours.
const (
	ManagedByLabel      = "app.kubernetes.io/managed-by"
	ManagedByLabelValue = "heddled"
)

// source is one kind to watch, and which item an object of it stands for.
type source struct {
	object client.Object
	item   func(client.Object) (item, bool)
}

func (p *Publisher) sources() []source {
	webhook := func(kind string) func(client.Object) (item, bool) {
		return func(o client.Object) (item, bool) { return item{kind, o.GetName()}, p.ours(o) }
	}
	webhooks := []source{{&admissionv1.MutatingWebhookConfiguration{}, webhook(kindMutating)}}
	if p.WebhooksOnly { // nobody else's but the default revision's validates
		return webhooks
	}
	return append(webhooks, []source{
		{&corev1.Namespace{}, func(o client.Object) (item, bool) { return item{kindNamespace, o.GetName()}, true }},
		{&corev1.ConfigMap{}, func(o client.Object) (item, bool) {
			return item{kindNamespace, o.GetNamespace()}, o.GetName() == wire.RootConfigMap
		}},
		{&admissionv1.ValidatingWebhookConfiguration{}, webhook(kindValidating)},
	}...)
}

func (p *Publisher) ours(o client.Object) bool {
	return o.GetLabels()[WebhookLabel] == cmp.Or(p.App, WebhookLabelValue)
}

// namespace makes the ConfigMap of one namespace right. A namespace that is going away is left alone: nothing can be made in it.
func (p *Publisher) namespace(ctx context.Context, name string) (bool, error) {
	var ns corev1.Namespace
	if err := p.Cache.Get(ctx, client.ObjectKey{Name: name}, &ns); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp != nil || ns.Status.Phase == corev1.NamespaceTerminating {
		return false, nil
	}
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: wire.RootConfigMap, Namespace: name, Labels: map[string]string{ManagedByLabel: ManagedByLabelValue}},
		Data:       map[string]string{wire.RootConfigMapKey: string(p.Bundle())},
	}
	var have corev1.ConfigMap
	err := p.Cache.Get(ctx, client.ObjectKeyFromObject(want), &have)
	if apierrors.IsNotFound(err) {
		return true, p.create(ctx, want)
	}
	if err != nil {
		return false, fmt.Errorf("reading ConfigMap %s/%s: %w", name, wire.RootConfigMap, err)
	}
	if maps.Equal(have.Data, want.Data) && len(have.BinaryData) == 0 && have.Labels[ManagedByLabel] == ManagedByLabelValue {
		return false, nil
	}
	want.ResourceVersion = have.ResourceVersion
	if err := p.Writer.Update(ctx, want); err != nil {
		return false, fmt.Errorf("updating ConfigMap %s/%s: %w", name, wire.RootConfigMap, err)
	}
	return true, nil
}

// create takes a ConfigMap that the cache does not show yet for an event to come, and a namespace that has just begun to go for one
// that needs nothing.
func (p *Publisher) create(ctx context.Context, m *corev1.ConfigMap) error {
	err := p.Writer.Create(ctx, m)
	if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating ConfigMap %s/%s: %w", m.Namespace, m.Name, err)
	}
	return nil
}

func (p *Publisher) mutating(ctx context.Context, name string) (bool, error) {
	var have admissionv1.MutatingWebhookConfiguration
	if err := p.Cache.Get(ctx, client.ObjectKey{Name: name}, &have); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	want := have.DeepCopy()
	configs := make([]*admissionv1.WebhookClientConfig, len(want.Webhooks))
	for i := range want.Webhooks {
		configs[i] = &want.Webhooks[i].ClientConfig
	}
	return p.patch(ctx, &have, want, configs)
}

func (p *Publisher) validating(ctx context.Context, name string) (bool, error) {
	var have admissionv1.ValidatingWebhookConfiguration
	if err := p.Cache.Get(ctx, client.ObjectKey{Name: name}, &have); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	want := have.DeepCopy()
	configs := make([]*admissionv1.WebhookClientConfig, len(want.Webhooks))
	for i := range want.Webhooks {
		configs[i] = &want.Webhooks[i].ClientConfig
	}
	if changed, err := p.patch(ctx, &have, want, configs); changed || err != nil { // the change is an event of its own
		return changed, err
	}
	if p.Closing == nil || !p.ours(&have) {
		return false, nil
	}
	if err := p.disown(ctx, &have); err != nil {
		return false, err
	}
	return false, p.close(ctx, &have)
}

// closer manages no field for longer than closing takes.
const closer = client.FieldOwner("heddled-closing")

// disown leaves what was closed to nobody: Helm, which installs the webhook open, would take an owner of the policy for somebody who is in its way, and
// neither upgrade nor roll back.
func (p *Publisher) disown(ctx context.Context, have *admissionv1.ValidatingWebhookConfiguration) error {
	want := have.DeepCopy()
	want.ManagedFields = slices.DeleteFunc(want.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Manager == string(closer) })
	if len(want.ManagedFields) == len(have.ManagedFields) {
		return nil
	}
	if err := p.Writer.Patch(ctx, want, client.MergeFromWithOptions(have, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("disowning the policy of webhook %s: %w", p.Closing.Webhook, err)
	}
	return nil
}

// close closes a webhook that refuses what it must.
func (p *Publisher) close(ctx context.Context, have *admissionv1.ValidatingWebhookConfiguration) error {
	at := slices.IndexFunc(have.Webhooks, func(w admissionv1.ValidatingWebhook) bool {
		return w.Name == p.Closing.Webhook && (w.FailurePolicy == nil || *w.FailurePolicy != admissionv1.Fail)
	})
	if at < 0 {
		return nil
	}
	refuses, err := p.Closing.Refuses(ctx)
	if err != nil {
		return fmt.Errorf("asking whether webhook %s refuses: %w", p.Closing.Webhook, err)
	}
	if !refuses {
		return errOpen
	}
	want, policy := have.DeepCopy(), admissionv1.Fail
	want.Webhooks[at].FailurePolicy = &policy
	if err := p.Writer.Patch(ctx, want, client.MergeFromWithOptions(have, client.MergeFromWithOptimisticLock{}), closer); err != nil {
		return fmt.Errorf("closing webhook %s: %w", p.Closing.Webhook, err)
	}
	p.Log.Info("the webhook refuses what it must: from now on nothing passes it unjudged", "webhook", p.Closing.Webhook)
	return nil
}

// patch sets the caBundle of configs, which are parts of want. The resource version goes with it: webhooks are a list without
// merge keys for this kind of patch, and one that somebody edits meanwhile must not be overwritten.
func (p *Publisher) patch(ctx context.Context, have, want client.Object, configs []*admissionv1.WebhookClientConfig) (bool, error) {
	if !p.ours(have) || !setBundle(configs, p.Bundle()) {
		return false, nil
	}
	patch := client.MergeFromWithOptions(have, client.MergeFromWithOptimisticLock{})
	if err := p.Writer.Patch(ctx, want, patch); err != nil {
		return false, fmt.Errorf("patching webhook configuration %s: %w", have.GetName(), err)
	}
	return true, nil
}

func setBundle(configs []*admissionv1.WebhookClientConfig, bundle []byte) (changed bool) {
	for _, c := range configs {
		if !bytes.Equal(c.CABundle, bundle) {
			c.CABundle, changed = bundle, true
		}
	}
	return changed
}

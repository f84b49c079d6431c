package install

import (
	"context"
	"fmt"
	"strings"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/internal/revision"
)

// The webhook configurations of the control-plane chart. A revision has an injector of its own, with its name behind, and no validator.
const (
	InjectorConfiguration  = "heddle-injector"
	ValidatorConfiguration = "heddle-validator"
)

// deploymentReady waits until every pod of the deployment's present template is ready.
func (i *Installer) deploymentReady(ctx context.Context, namespace, name string) error {
	return i.steps.wait(ctx, fmt.Sprintf("deployment %s/%s ready", namespace, name), func(ctx context.Context) (string, error) {
		d, err := i.cluster.Kube.AppsV1().Deployments(namespace).Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return "", fmt.Errorf("reading deployment %s/%s: %w", namespace, name, err)
		}
		reason := rollout(d)
		if reason == "" {
			return "", nil
		}
		trouble, err := i.podTrouble(ctx, d)
		if err != nil {
			return "", err
		}
		return reason + trouble, nil
	})
}

// rollout says what a deployment still waits for.
func rollout(d *apps.Deployment) string {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	ready := min(d.Status.UpdatedReplicas, d.Status.AvailableReplicas)
	if d.Status.ObservedGeneration >= d.Generation && ready >= want && d.Status.Replicas == d.Status.UpdatedReplicas {
		return ""
	}
	return fmt.Sprintf("deployment %s/%s: %d of %d pods ready", d.Namespace, d.Name, ready, want)
}

// podTrouble names what holds a deployment's pods back, where they say so.
func (i *Installer) podTrouble(ctx context.Context, d *apps.Deployment) (string, error) {
	selector, err := meta.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return "", fmt.Errorf("reading the selector of deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	pods, err := i.cluster.Kube.CoreV1().Pods(d.Namespace).List(ctx, meta.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return "", fmt.Errorf("listing pods of deployment %s/%s: %w", d.Namespace, d.Name, err)
	}
	for n := range pods.Items {
		if why := trouble(&pods.Items[n]); why != "" {
			return fmt.Sprintf(" (pod %s: %s)", pods.Items[n].Name, why), nil
		}
	}
	for _, c := range d.Status.Conditions {
		if c.Type == apps.DeploymentReplicaFailure && c.Status == core.ConditionTrue {
			return fmt.Sprintf(" (%s)", c.Message), nil
		}
	}
	return "", nil
}

func trouble(pod *core.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == core.PodScheduled && c.Status == core.ConditionFalse {
			return c.Message
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		waiting := s.State.Waiting
		if waiting == nil || waiting.Reason == "ContainerCreating" || waiting.Reason == "PodInitializing" {
			continue
		}
		last := s.LastTerminationState.Terminated
		if last != nil && last.Message != "" {
			return waiting.Reason + ": " + strings.TrimSpace(last.Message)
		}
		return strings.TrimSuffix(waiting.Reason+": "+waiting.Message, ": ")
	}
	return ""
}

// webhooksTrusted waits until the control plane has written its root into both webhook configurations.
func (i *Installer) webhooksTrusted(ctx context.Context) error {
	return i.steps.wait(ctx, "webhooks trust the control plane", func(ctx context.Context) (string, error) {
		missing, err := i.Untrusted(ctx)
		if err != nil || len(missing) == 0 {
			return "", err
		}
		return "the control plane to write its root into " + strings.Join(missing, " and "), nil
	})
}

// Untrusted names the webhooks without a root to verify the control plane by, and the configurations that do not exist.
func (i *Installer) Untrusted(ctx context.Context) ([]string, error) {
	admission := i.cluster.Kube.AdmissionregistrationV1()
	var missing []string
	note := func(name string, bundle []byte) {
		if len(bundle) == 0 {
			missing = append(missing, "webhook "+name)
		}
	}
	name := i.named(InjectorConfiguration)
	injector, err := admission.MutatingWebhookConfigurations().Get(ctx, name, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		missing = append(missing, "webhook configuration "+name)
	} else if err != nil {
		return nil, fmt.Errorf("reading webhook configuration %s: %w", name, err)
	} else {
		for n := range injector.Webhooks {
			note(injector.Webhooks[n].Name, injector.Webhooks[n].ClientConfig.CABundle)
		}
	}
	if !revision.IsDefault(i.options.Revision) {
		return missing, nil
	}
	validator, err := admission.ValidatingWebhookConfigurations().Get(ctx, ValidatorConfiguration, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		missing = append(missing, "webhook configuration "+ValidatorConfiguration)
	} else if err != nil {
		return nil, fmt.Errorf("reading webhook configuration %s: %w", ValidatorConfiguration, err)
	} else {
		for n := range validator.Webhooks {
			note(validator.Webhooks[n].Name, validator.Webhooks[n].ClientConfig.CABundle)
		}
	}
	return missing, nil
}

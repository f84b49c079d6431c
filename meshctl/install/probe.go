package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/revision"
)

// Errors of Probe, wrapped.
var (
	// ErrInjection is returned where a pod would not be injected.
	ErrInjection = errors.New("injection does not work")
	// ErrQuota is returned where no namespace has room for a pod. Quotas are looked at last: no webhook has failed.
	ErrQuota = errors.New("whether a pod gets its proxy cannot be tried: quotas leave no room for one")
)

// tries is how many labelled namespaces are asked before "default" is.
const tries = 5

// injectionWorks ends an installation: a dry run shows that a new pod would get its proxy.
func (i *Installer) injectionWorks(ctx context.Context) error {
	var last error
	err := i.steps.wait(ctx, "a dry run of a pod was injected", func(ctx context.Context) (string, error) {
		if last = i.Probe(ctx); last == nil || apierrors.IsForbidden(last) {
			return "", last
		}
		return "a dry run of a pod to be injected: " + last.Error(), nil
	})
	if errors.Is(last, ErrQuota) {
		i.steps.done("%v", last)
		return nil
	}
	if err != nil && last != nil {
		return last
	}
	return err
}

// Probe asks the API server what it would make of a pod that is to be injected, without making it. What one namespace forbids (by a
// quota, a range of limits, the user's rights) says nothing of injection, and another is asked.
func (i *Installer) Probe(ctx context.Context) error {
	namespaces, err := i.injectedNamespaces(ctx)
	if err != nil {
		return err
	}
	var forbidden error
	for _, namespace := range namespaces {
		err := i.probe(ctx, namespace)
		if !apierrors.IsForbidden(err) {
			return err
		}
		if forbidden == nil || errors.Is(forbidden, ErrQuota) {
			forbidden = err
		}
	}
	return forbidden
}

func (i *Installer) probe(ctx context.Context, namespace string) error {
	of := i.options.Revision
	got, err := i.cluster.Kube.CoreV1().Pods(namespace).Create(ctx, probePod(namespace, of), meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
	switch {
	case err == nil && !hasProxy(got):
		return fmt.Errorf("%w: a pod in namespace %s got no proxy", ErrInjection, namespace)
	case err == nil && !revision.IsDefault(of) && !injectedBy(got, of):
		return fmt.Errorf("%w: a pod in namespace %s got the proxy of another revision than %s", ErrInjection, namespace, of)
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "failed calling webhook") && !unreachable(err):
		return fmt.Errorf("%w: the webhook fails: %w", ErrInjection, err)
	case strings.Contains(err.Error(), "failed calling webhook"):
		return fmt.Errorf("%w: the API server cannot reach the webhook: it must be able to connect to port %d of the pods of %s/%s (is a firewall between them?): %w",
			ErrInjection, wire.PortWebhook, wire.SystemNamespace, i.named(wire.DiscoveryService), err)
	case strings.Contains(err.Error(), "violates PodSecurity"):
		return fmt.Errorf("%w: the pod security level that namespace %s enforces forbids it: %w", ErrInjection, namespace, err)
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "quota: "):
		return fmt.Errorf("%w: namespace %s: %w", ErrQuota, namespace, err)
	}
	return fmt.Errorf("trying a pod in namespace %s: %w", namespace, err)
}

// unreachable reports whether a webhook was not connected to, by the words of the API server.
func unreachable(err error) bool {
	return slices.ContainsFunc([]string{"dial tcp", "connection refused", "no route to host", "deadline exceeded", "timeout", "Timeout", "EOF", "no endpoints available", "tls:"},
		func(words string) bool { return strings.Contains(err.Error(), words) })
}

// injectedNamespaces are a few that are labelled for injection, and "default", where the probe asks for itself.
func (i *Installer) injectedNamespaces(ctx context.Context) ([]string, error) {
	selector := wire.InjectionLabel + "=enabled"
	if of := i.options.Revision; !revision.IsDefault(of) {
		selector = fmt.Sprintf("%s=%s,!%s", wire.RevisionLabel, of, wire.InjectionLabel)
	}
	list, err := i.cluster.Kube.CoreV1().Namespaces().List(ctx, meta.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var names []string
	for n := range list.Items {
		ns := &list.Items[n]
		never := slices.Contains([]string{wire.SystemNamespace, meta.NamespaceSystem, meta.NamespaceDefault}, ns.Name)
		if ns.DeletionTimestamp == nil && !never && !ForbidsInjection(ns) && len(names) < tries {
			names = append(names, ns.Name)
		}
	}
	return append(names, meta.NamespaceDefault), nil
}

// injectedBy reports whether a revision's webhook changed a pod.
func injectedBy(pod *core.Pod, of string) bool {
	by, injected := inject.RevisionOf(pod)
	return injected && by == of
}

func probePod(namespace, of string) *core.Pod {
	no, labels := false, map[string]string{wire.PodInjectLabel: "true"}
	if !revision.IsDefault(of) {
		labels[wire.RevisionLabel] = of
	}
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{GenerateName: "heddle-dry-run-", Namespace: namespace, Labels: labels},
		Spec: core.PodSpec{
			AutomountServiceAccountToken: &no,
			Containers:                   []core.Container{{Name: "none", Image: "heddle.invalid/none"}},
		},
	}
}

func hasProxy(pod *core.Pod) bool {
	is := func(c core.Container) bool { return c.Name == wire.ProxyContainer }
	return slices.ContainsFunc(pod.Spec.InitContainers, is) || slices.ContainsFunc(pod.Spec.Containers, is)
}

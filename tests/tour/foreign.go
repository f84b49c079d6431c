package tour

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/install"
)

// Taken says what is there already of what the demo would create: its namespaces, and Heddle, wherever and however it was installed.
func (c *Cluster) Taken(ctx context.Context) ([]string, error) {
	var taken []string
	note := func(what string, err error) error {
		switch {
		case err == nil:
			taken = append(taken, what)
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("looking at %s: %w", what, err)
		}
		return nil
	}
	for _, name := range append([]string{wire.SystemNamespace}, Namespaces()...) {
		_, err := c.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if err := note("namespace "+name, err); err != nil {
			return nil, err
		}
	}
	admission := c.kube.AdmissionregistrationV1()
	_, err := admission.MutatingWebhookConfigurations().Get(ctx, install.InjectorConfiguration, metav1.GetOptions{})
	if err := note("webhook configuration "+install.InjectorConfiguration, err); err != nil {
		return nil, err
	}
	_, err = admission.ValidatingWebhookConfigurations().Get(ctx, install.ValidatorConfiguration, metav1.GetOptions{})
	if err := note("webhook configuration "+install.ValidatorConfiguration, err); err != nil {
		return nil, err
	}
	releases, err := c.kube.CoreV1().Secrets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		LabelSelector: fmt.Sprintf("owner=helm,name in (%s,%s)", install.BaseRelease, install.Release)})
	if err != nil {
		return nil, fmt.Errorf("looking at Helm's releases: %w", err)
	}
	for _, s := range releases.Items {
		taken = append(taken, fmt.Sprintf("Helm release %s/%s", s.Namespace, s.Labels["name"]))
	}
	slices.Sort(taken)
	return slices.Compact(taken), nil
}

// Doorkeeper names a Deployment, other than the demo's own, whose pods carry the label istio: ingressgateway, which one gateway of a cluster
// may have; empty where there is none.
func (c *Cluster) Doorkeeper(ctx context.Context) (string, error) {
	list, err := c.kube.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("listing deployments: %w", err)
	}
	for i := range list.Items {
		d := &list.Items[i]
		if d.Spec.Template.Labels["istio"] == "ingressgateway" && d.Namespace != GatewayNamespace {
			return d.Namespace + "/" + d.Name, nil
		}
	}
	return "", nil
}

// Forget deletes the demo's namespaces with everything in them, and waits until they are gone.
func (c *Cluster) Forget(ctx context.Context) error {
	namespaces := c.kube.CoreV1().Namespaces()
	for _, name := range Namespaces() {
		if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting namespace %s: %w", name, err)
		}
	}
	return eventually(ctx, forgetLimit, func(ctx context.Context) error {
		for _, name := range Namespaces() {
			if _, err := namespaces.Get(ctx, name, metav1.GetOptions{}); err == nil {
				return fmt.Errorf("namespace %s is still there", name)
			} else if !apierrors.IsNotFound(err) {
				return fmt.Errorf("reading namespace %s: %w", name, err)
			}
		}
		return nil
	})
}

// Package check says whether Heddle can be installed in a cluster, and whether what is installed is sound. It changes nothing.
package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	authorization "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/ca/authority"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/install"
)

// Level is how a finding should be taken.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Error   Level = "error"
)

// Finding is the outcome of one check.
type Finding struct {
	Level   Level  `json:"level"`
	Check   string `json:"check"`
	Message string `json:"message"`
}

// oldest is the oldest Kubernetes that Heddle supports.
const (
	oldest        = "1.30"
	probeSentence = "a pod that is to be injected gets its proxy"
)

// errNotInstalled ends a run: what else there is to check is part of an installation.
var errNotInstalled = errors.New("not installed")

// Injection asks the control plane of a revision what its webhook would use.
type Injection func(ctx context.Context, revision string) (inject.Params, error)

// Checker looks at one cluster.
type Checker struct {
	cluster   *cluster.Cluster
	install   *install.Installer
	injection Injection
	found     []Finding
}

// New returns a Checker.
func New(c *cluster.Cluster, i *install.Installer, injection Injection) *Checker {
	return &Checker{cluster: c, install: i, injection: injection}
}

// Run makes all checks; with pre, only those of a cluster where Heddle is still to be installed. Its error says that the cluster
// did not answer, not that something was found.
func (c *Checker) Run(ctx context.Context, pre bool) ([]Finding, error) {
	steps := []func(context.Context) error{c.kubernetes, c.rights, c.definitions, c.roots, c.namespaces}
	if !pre {
		steps = append(steps, c.controlPlane, c.webhooks, c.revisions, c.dataPlane)
	}
	for _, step := range steps {
		err := step(ctx)
		if errors.Is(err, errNotInstalled) {
			return c.found, nil
		}
		if apierrors.IsForbidden(err) {
			c.forbidden(err)
			continue
		}
		if err != nil {
			return c.found, err
		}
	}
	return c.found, nil
}

// Worst returns the highest level among findings.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Error || f.Level == Warning && worst == OK {
			worst = f.Level
		}
	}
	return worst
}

func (c *Checker) add(level Level, check, format string, args ...any) {
	c.found = append(c.found, Finding{level, check, fmt.Sprintf(format, args...)})
}

// forbidden names a right that is missing, once: several checks may want the same.
func (c *Checker) forbidden(err error) {
	f := Finding{Error, "rights", cluster.Explain(err).Error()}
	if !slices.Contains(c.found, f) {
		c.found = append(c.found, f)
	}
}

func (c *Checker) kubernetes(ctx context.Context) error {
	const name = "kubernetes"
	v, err := version.ParseGeneric(c.cluster.Version)
	if err != nil {
		c.add(Warning, name, "the version %q cannot be read", c.cluster.Version)
		return nil
	}
	if v.LessThan(version.MustParseGeneric(oldest)) {
		c.add(Error, name, "Kubernetes %s is older than %s", c.cluster.Version, oldest)
		return nil
	}
	nodes, err := c.cluster.Kube.CoreV1().Nodes().List(ctx, meta.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	for _, node := range nodes.Items {
		if kubelet := node.Status.NodeInfo.KubeletVersion; !inject.NativeSupported([]string{kubelet}) {
			c.add(Warning, name, "node %s runs kubelet %s: proxies will be ordinary containers everywhere", node.Name, kubelet)
		}
	}
	c.add(OK, name, "Kubernetes %s, %d nodes", c.cluster.Version, len(nodes.Items))
	return nil
}

// rights asks for those that an installation needs most.
func (c *Checker) rights(ctx context.Context) error {
	var missing []string
	for _, r := range []authorization.ResourceAttributes{
		{Verb: "create", Resource: "namespaces"},
		{Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
		{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "create", Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"},
		{Verb: "create", Group: "apps", Resource: "deployments", Namespace: wire.SystemNamespace},
		{Verb: "create", Resource: "secrets", Namespace: wire.SystemNamespace},
	} {
		review := &authorization.SelfSubjectAccessReview{Spec: authorization.SelfSubjectAccessReviewSpec{ResourceAttributes: &r}}
		answer, err := c.cluster.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, meta.CreateOptions{})
		if err != nil {
			return fmt.Errorf("asking for rights: %w", err)
		}
		if !answer.Status.Allowed {
			missing = append(missing, r.Verb+" "+r.Resource)
		}
	}
	if len(missing) > 0 {
		c.add(Error, "rights", "this user may not %s", strings.Join(missing, ", "))
		return nil
	}
	c.add(OK, "rights", "this user may install")
	return nil
}

func (c *Checker) definitions(ctx context.Context) error {
	const name = "definitions"
	all, err := c.install.Definitions(ctx)
	if err != nil {
		return err
	}
	owned := map[string]int{}
	for _, d := range all {
		owned[d.Owner]++
		switch {
		case d.Owner == install.OwnerOther && len(d.Lacks) > 0:
			c.add(Warning, name, "%s belongs to another installer and lacks %s", d.Name, strings.Join(d.Lacks, ", "))
		case d.Owner == install.OwnerHeddle && len(d.Lacks) > 0:
			c.add(Warning, name, "%s is older than this meshctl and lacks %s; install again", d.Name, strings.Join(d.Lacks, ", "))
		}
	}
	c.add(OK, name, "%d by Heddle, %d by others, %d to be installed", owned[install.OwnerHeddle], owned[install.OwnerOther], owned[install.OwnerNone])
	return nil
}

func (c *Checker) roots(ctx context.Context) error {
	err := authority.CheckCluster(ctx, c.cluster.Kube)
	if errors.Is(err, authority.ErrForeignProxies) {
		c.add(Error, "root", "%v", err)
		return nil
	}
	if err == nil {
		c.add(OK, "root", "no running proxy trusts another root")
	}
	return err
}

func (c *Checker) namespaces(ctx context.Context) error {
	const name = "namespaces"
	enrolled, err := c.enrolled(ctx)
	if err != nil {
		return err
	}
	forbidden := 0
	for n := range enrolled {
		if ns := &enrolled[n]; install.ForbidsInjection(ns) {
			forbidden++
			c.add(Error, name, "%s is labelled for injection and enforces a pod security level that forbids the capture container (it needs NET_ADMIN): use %q",
				ns.Name, "pod-security.kubernetes.io/enforce: privileged")
		}
	}
	c.add(OK, name, "%d labelled for injection, %d of them cannot have it", len(enrolled), forbidden)
	return nil
}

func (c *Checker) controlPlane(ctx context.Context) error {
	const name = "control plane"
	all, err := c.install.Revisions(ctx)
	if err != nil {
		return err
	}
	if all[wire.DefaultRevision] == nil {
		return c.absent(ctx, name)
	}
	for _, of := range slices.Sorted(maps.Keys(all)) {
		d, level := all[of], OK
		switch {
		case d.Status.AvailableReplicas == 0:
			level = Error
		case d.Spec.Replicas != nil && d.Status.AvailableReplicas < *d.Spec.Replicas:
			level = Warning
		}
		c.add(level, name, "%s%d of %d pods available", sentence(of), d.Status.AvailableReplicas, d.Status.Replicas)
	}
	return nil
}

// absent tells a cluster without Heddle from one whose webhook has outlived its control plane.
func (c *Checker) absent(ctx context.Context, name string) error {
	_, err := c.cluster.Kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, install.InjectorConfiguration, meta.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.add(Error, name, "Heddle is not installed; check --pre asks only whether it can be")
	case err != nil:
		return fmt.Errorf("reading webhook configuration %s: %w", install.InjectorConfiguration, err)
	default:
		c.add(Error, name, "deployment %s/%s is gone, but webhook configuration %s is there: pods of labelled namespaces cannot start; install again, or uninstall",
			wire.SystemNamespace, wire.DiscoveryService, install.InjectorConfiguration)
	}
	return errNotInstalled
}

func (c *Checker) webhooks(ctx context.Context) error {
	const name = "webhooks"
	missing, err := c.install.Untrusted(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		c.add(Error, name, "the control plane's root is missing from %s", strings.Join(missing, ", "))
		return nil
	}
	err = c.install.Probe(ctx)
	switch {
	case errors.Is(err, install.ErrQuota):
		c.add(Warning, name, "%v", err)
		return nil
	case err != nil:
		c.add(Error, name, "%v", cluster.Explain(err))
		return nil
	}
	c.add(OK, name, probeSentence)
	return nil
}

// dataPlane looks for pods that should have a proxy and have none, as the webhook of their revision would judge them now.
func (c *Checker) dataPlane(ctx context.Context) error {
	enrolled, err := c.enrolled(ctx)
	if err != nil {
		return err
	}
	called, _, err := c.revisionsOf(ctx)
	if err != nil {
		return err
	}
	paramsOf := c.asking(ctx, called)
	with, without := 0, 0
	for n := range enrolled {
		ns := &enrolled[n]
		pods, err := c.cluster.Kube.CoreV1().Pods(ns.Name).List(ctx, meta.ListOptions{})
		if err != nil {
			return fmt.Errorf("listing pods of %s: %w", ns.Name, err)
		}
		for n := range pods.Items {
			switch pod := &pods.Items[n]; {
			case pod.Annotations[wire.StatusAnnotation] != "":
				with++
			case shouldHaveProxy(pod, ns.Labels, paramsOf(ns)):
				without++
				c.add(Warning, "data plane", "pod %s/%s started without a proxy; restart it", pod.Namespace, pod.Name)
			}
		}
	}
	c.add(OK, "data plane", "%d pods with a proxy, %d that should have one", with, without)
	return nil
}

func shouldHaveProxy(pod *core.Pod, namespace map[string]string, params inject.Params) bool {
	if pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed {
		return false
	}
	result, err := inject.Inject(inject.Request{Pod: pod, Namespace: pod.Namespace, NamespaceLabels: namespace}, params)
	return err == nil && result.Injected
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// Versions are what runs.
type Versions struct {
	Client       string         `json:"client"`
	ControlPlane map[string]int `json:"controlPlane,omitempty"` // version: pods
	DataPlane    map[string]int `json:"dataPlane,omitempty"`    // version: proxies
	// Revisions are the same for each revision beside the default one, whose pods are not in the maps above.
	Revisions map[string]*Revision `json:"revisions,omitempty"`
}

// Revision is what runs of one.
type Revision struct {
	ControlPlane map[string]int `json:"controlPlane,omitempty"`
	DataPlane    map[string]int `json:"dataPlane,omitempty"`
}

// of returns the numbers of a revision, to be added to.
func (v *Versions) of(of string) *Revision {
	if revision.IsDefault(of) {
		return &Revision{ControlPlane: v.ControlPlane, DataPlane: v.DataPlane}
	}
	if v.Revisions == nil {
		v.Revisions = map[string]*Revision{}
	}
	if v.Revisions[of] == nil {
		v.Revisions[of] = &Revision{ControlPlane: map[string]int{}, DataPlane: map[string]int{}}
	}
	return v.Revisions[of]
}

func (a *app) versions() *cobra.Command {
	var clientOnly bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of meshctl, the control plane and the proxies",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := Versions{Client: a.version}
			if !clientOnly {
				cl, err := a.connect(cmd.Context())
				if err != nil {
					return err
				}
				if v, err = readVersions(cmd.Context(), cl.Kube, a.version); err != nil {
					return err
				}
			}
			return output.Print(a.out, a.format, v, v.table)
		},
	}
	c.Flags().BoolVar(&clientOnly, "client", false, "only this meshctl's, without asking a cluster")
	return a.formatted(c)
}

// readVersions takes versions from the images that run.
func readVersions(ctx context.Context, kube kubernetes.Interface, client string) (Versions, error) {
	v := Versions{Client: client, ControlPlane: map[string]int{}, DataPlane: map[string]int{}}
	pods, err := kube.CoreV1().Pods(meta.NamespaceAll).List(ctx, meta.ListOptions{})
	if err != nil {
		return v, fmt.Errorf("listing pods: %w", err)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase != core.PodRunning {
			continue
		}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			switch {
			case c.Name == wire.ProxyContainer:
				v.of(proxyOf(&pod)).DataPlane[tag(c.Image)]++
			case c.Name == wire.DiscoveryService && pod.Namespace == wire.SystemNamespace:
				v.of(pod.Labels[wire.RevisionLabel]).ControlPlane[tag(c.Image)]++
			}
		}
	}
	return v, nil
}

// proxyOf is the revision that a pod's proxy is of: a sidecar of the one that injected it, a gateway of the one that its release says.
func proxyOf(pod *core.Pod) string {
	if of, injected := inject.RevisionOf(pod); injected {
		return of
	}
	return pod.Labels[wire.RevisionLabel]
}

// tag is the version in an image's name.
func tag(image string) string {
	image, digest, _ := strings.Cut(image, "@")
	if at := strings.LastIndex(image, ":"); at > strings.LastIndex(image, "/") {
		return image[at+1:]
	}
	return cmp.Or(digest, "latest")
}

func (v Versions) table(w io.Writer) error {
	rows := [][]string{{"client", v.Client, ""}}
	type part struct {
		name     string
		versions map[string]int
	}
	parts := []part{{"control plane", v.ControlPlane}, {"data plane", v.DataPlane}}
	for _, of := range slices.Sorted(maps.Keys(v.Revisions)) {
		parts = append(parts, part{"control plane " + of, v.Revisions[of].ControlPlane}, part{"data plane " + of, v.Revisions[of].DataPlane})
	}
	for _, part := range parts {
		for _, version := range slices.Sorted(maps.Keys(part.versions)) {
			rows = append(rows, []string{part.name, version, strconv.Itoa(part.versions[version])})
		}
	}
	return output.Table(w, []string{"PART", "VERSION", "PODS"}, rows)
}

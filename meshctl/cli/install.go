package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/manifests"
	"github.com/heddle-mesh/heddle/meshctl/install"
)

const defaultTimeout = 5 * time.Minute

// chartFlags choose a chart's values and how long to wait.
type chartFlags struct {
	files    []string
	set      []string
	image    string
	revision string
	reset    bool
	timeout  time.Duration
}

func (f *chartFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVarP(&f.files, "values", "f", nil, "YAML file with values of the chart (can be repeated; later ones win)")
	c.Flags().StringArrayVar(&f.set, "set", nil, "value of the chart, as path.to.key=value (can be repeated; wins over files)")
	c.Flags().StringVar(&f.image, "registry", "", "registry and path of Heddle's images")
	c.Flags().StringVar(&f.revision, "revision", "", "the control plane's revision; one beside the default revision has objects of its own, and takes the pods that are labelled for it")
	c.Flags().BoolVar(&f.reset, "reset-values", false, "forget the values of an earlier installation (otherwise they stay where none is given)")
	c.Flags().DurationVar(&f.timeout, "timeout", defaultTimeout, "how long to wait until everything is ready")
}

// values joins what the flags say, as Helm does.
func (f *chartFlags) values() (map[string]any, error) {
	all := map[string]any{}
	for _, path := range f.files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading values: %w", err)
		}
		var of map[string]any
		if err := yaml.Unmarshal(text, &of); err != nil {
			return nil, fmt.Errorf("reading values %s: %w", path, err)
		}
		merge(all, of)
	}
	if f.image != "" {
		merge(all, map[string]any{"image": map[string]any{"registry": f.image}})
	}
	for _, assignment := range f.set {
		if err := strvals.ParseInto(assignment, all); err != nil {
			return nil, usageError{fmt.Errorf("--set %s: %w", assignment, err)}
		}
	}
	return all, nil
}

// merge lays from over into; maps join, everything else is replaced.
func merge(into, from map[string]any) {
	for key, value := range from {
		have, ok1 := into[key].(map[string]any)
		add, ok2 := value.(map[string]any)
		if ok1 && ok2 {
			merge(have, add)
			continue
		}
		into[key] = value
	}
}

func (a *app) installer(cmd *cobra.Command, f *chartFlags) (*install.Installer, error) {
	values, err := f.values()
	if err != nil {
		return nil, err
	}
	c, err := a.connect(cmd.Context())
	if err != nil {
		return nil, err
	}
	return install.New(c, install.Options{Version: a.version, Revision: f.revision, Values: values, Reset: f.reset, Timeout: f.timeout, Out: a.err}), nil
}

func (a *app) install() *cobra.Command {
	var f chartFlags
	c := &cobra.Command{
		Use:   "install",
		Short: "Install or upgrade the control plane",
		Long: "Install or upgrade the control plane: the custom resource definitions, and the Helm releases " + install.BaseRelease + " and " + install.Release + ".\n" +
			"It waits until new pods are injected. Definitions of another installer are never changed.\n" +
			"With --revision a second control plane is put beside the first, which pods labelled " + wire.RevisionLabel + "=NAME, or of namespaces with that label, belong to.",
		Example: "  meshctl install --set trustDomain=example.org --set accessLog.enabled=true\n  meshctl install --revision canary",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := a.installer(cmd, &f)
			if err != nil {
				return err
			}
			if err := i.Install(cmd.Context()); err != nil {
				return err
			}
			label := wire.InjectionLabel + "=enabled"
			if !revision.IsDefault(f.revision) {
				label = wire.RevisionLabel + "=" + f.revision
			}
			fmt.Fprintf(a.out, "Heddle is installed. Label a namespace %s and restart its pods.\n", label)
			return nil
		},
	}
	f.add(c)
	return c
}

func (a *app) uninstall() *cobra.Command {
	var removal install.Removal
	f := chartFlags{}
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Take Heddle out of the cluster",
		Long: "Take Heddle out of the cluster, webhooks first. It refuses while pods run a proxy, and it keeps the root of the mesh and\n" +
			"the custom resource definitions, so that a later installation goes on where this one ended.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := a.installer(cmd, &f)
			if err != nil {
				return err
			}
			return i.Uninstall(cmd.Context(), removal)
		},
	}
	c.Flags().StringVar(&f.revision, "revision", "", "take out this revision alone, and leave what all share")
	c.Flags().BoolVar(&removal.Force, "force", false, "even while pods run a proxy; gateways are uninstalled too")
	c.Flags().BoolVar(&removal.Purge, "purge", false, "delete the root, the definitions and every object of theirs too")
	c.Flags().DurationVar(&f.timeout, "timeout", defaultTimeout, "how long to wait until everything has gone")
	return c
}

func (a *app) gateway() *cobra.Command {
	c := &cobra.Command{Use: "gateway", Short: "Install or uninstall gateways", Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var f, g chartFlags
	in := &cobra.Command{
		Use:     "install NAME",
		Short:   "Install or upgrade a gateway as the Helm release NAME",
		Example: "  meshctl gateway install internet -n edge --set istio=ingressgateway --set replicas=2",
		Args:    one("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.installer(cmd, &f)
			if err != nil {
				return err
			}
			return i.Gateway(cmd.Context(), args[0], a.namespace())
		},
	}
	f.add(in)
	out := &cobra.Command{
		Use:   "uninstall NAME",
		Short: "Uninstall a gateway",
		Args:  one("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.installer(cmd, &g)
			if err != nil {
				return err
			}
			return i.RemoveGateway(cmd.Context(), args[0], a.namespace())
		},
	}
	out.Flags().DurationVar(&g.timeout, "timeout", defaultTimeout, "how long to wait until everything has gone")
	c.AddCommand(in, out)
	return c
}

func (a *app) charts() *cobra.Command {
	return &cobra.Command{
		Use:     "charts DIR",
		Short:   "Write the Helm charts into a folder, for those who install with Helm itself",
		Example: "  meshctl charts ./heddle && helm install heddle-base ./heddle/base -n heddle-system --create-namespace",
		Args:    one("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, name := range []string{manifests.Base, manifests.ControlPlane, manifests.Gateway} {
				if err := manifests.Export(name, a.version, args[0]); err != nil {
					return err
				}
				fmt.Fprintln(a.out, filepath.Join(args[0], name))
			}
			return nil
		},
	}
}

// namespace is the one of the flags or of the context.
func (a *app) namespace() string {
	namespace, _, err := a.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil || namespace == "" {
		return "default"
	}
	return namespace
}

package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/revision"
	"github.com/heddle-mesh/heddle/meshctl/workload"
)

// workload is a command per thing that machines outside of the cluster need.
func (a *app) workload() *cobra.Command {
	c := &cobra.Command{
		Use:   "workload",
		Short: "Prepare machines outside of the cluster, which register themselves by WorkloadGroups",
		Args:  subcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group := &cobra.Command{Use: "group", Short: "Write WorkloadGroups", Args: subcommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	group.AddCommand(a.createGroup())
	entry := &cobra.Command{Use: "entry", Short: "Prepare machines of a WorkloadGroup", Args: subcommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	entry.AddCommand(a.configureEntry())
	c.AddCommand(group, entry)
	return c
}

func (a *app) createGroup() *cobra.Command {
	t := workload.Template{}
	c := &cobra.Command{
		Use:     "create --name NAME --serviceAccount ACCOUNT",
		Short:   "Print a WorkloadGroup",
		Example: "  meshctl workload group create --name db -n shop --serviceAccount sql --labels app=db --ports tcp=5432 > group.yaml",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if t.Name == "" || t.Account == "" {
				return usageError{errors.New("workload group create: give --name and --serviceAccount")}
			}
			t.Namespace = a.namespace()
			text, err := workload.Group(t)
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	c.Flags().StringVar(&t.Name, "name", "", "name of the WorkloadGroup")
	c.Flags().StringVar(&t.Account, "serviceAccount", "", "service account that its machines act for; give them one of their own")
	c.Flags().StringToStringVar(&t.Labels, "labels", nil, "labels of the machines")
	c.Flags().StringToStringVar(&t.Annotations, "annotations", nil, "annotations of the machines' WorkloadEntries")
	c.Flags().StringToStringVar(&t.Ports, "ports", nil, "ports of the machines, by the names of services' ports")
	return c
}

func (a *app) configureEntry() *cobra.Command {
	r := workload.Request{Namespace: wire.SystemNamespace}
	var file, dir, of string
	c := &cobra.Command{
		Use:   "configure -f FILE -o DIR",
		Short: "Write the files by which a machine of a WorkloadGroup finds the mesh and proves itself",
		Long: "Write the files by which a machine of a WorkloadGroup finds the mesh and proves itself: " + wire.FileEnvironment + ", " + wire.FileMachine + ", " + wire.FileRoots +
			", " + wire.FileToken + "\nand " + wire.FileHosts + ". Copy them to " + wire.MachinePath + " of the machine, add the line of " + wire.FileHosts + " to its /etc/hosts, and start heddle-proxy machine there\n" +
			"before the token ends. The mesh must let machines register themselves (meshctl install --set machines=true).",
		Example: "  meshctl workload entry configure -f group.yaml -o machine --ingressIP 192.0.2.1",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" || dir == "" {
				return usageError{errors.New("workload entry configure: give -f and -o")}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("reading the WorkloadGroup: %w", err)
			}
			if r.Group, err = workload.Read(text, a.namespace()); err != nil {
				return err
			}
			cl, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			r.Revision = revision.Name(wire.DiscoveryService, of)
			files, err := workload.Files(cmd.Context(), cl.Kube, r)
			if err != nil {
				return err
			}
			if err := workload.Write(dir, files); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "wrote the files of a machine of %s/%s to %s\n", r.Group.Namespace, r.Group.Name, dir)
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "file with the WorkloadGroup")
	f.StringVarP(&dir, "output-dir", "o", "", "folder for the files")
	f.StringVar(&r.Plane, "ingressIP", "", "address by which machines reach the control plane; default: that of its Service's load balancer")
	f.StringVar(&r.Address, "internalIP", "", "the machine's address, as others reach it; default: the one that it reaches the control plane from")
	f.StringVar(&of, "revision", "", "revision of the control plane, if it is not the default one")
	f.StringVar(&r.Audience, "audience", wire.TokenAudience, "audience of the token: the control plane's --token-audience")
	f.StringVar(&r.TrustDomain, "trust-domain", wire.DefaultTrustDomain, "trust domain of the mesh")
	f.StringVar(&r.ClusterID, "clusterID", wire.DefaultClusterID, "name of the cluster")
	f.DurationVar(&r.TokenLife, "tokenDuration", time.Hour, "how long the token can be used for the machine's first certificate")
	f.BoolVar(&r.CaptureDNS, "capture-dns", true, "whether the proxy answers the machine's DNS questions with the mesh's names")
	return c
}

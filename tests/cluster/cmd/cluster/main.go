// Command cluster runs a real Kubernetes of three nodes on this machine, each node a set of namespaces, and a small world outside of it. It
// must be run as root. It knows nothing of the mesh.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/lifecycle"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/smoke"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/supervise"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use: "cluster", Short: "a real Kubernetes of three nodes on this machine",
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 && !unprivileged(cmd.Name()) {
				return errors.New("this makes network namespaces, mounts and cgroups, and therefore must run as root (sudo)")
			}
			return nil
		},
	}
	root.PersistentFlags().StringVar(&o.state, "state", "/var/lib/heddle-cluster", "folder of everything that the cluster keeps")
	root.PersistentFlags().StringVar(&o.cache, "cache", "", "folder of built binaries and images (default: heddle in the user's cache)")
	root.AddCommand(
		changing(&o, "up", "start the cluster, or make sure that it runs", up),
		changing(&o, "down", "remove the cluster and everything of it", down),
		&cobra.Command{Use: "status", Short: "say whether the cluster can be used", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return o.cluster().Status(cmd.Context()) }},
		&cobra.Command{Use: "kubeconfig", Short: "print the path of the KUBECONFIG", Args: cobra.NoArgs,
			Run: func(*cobra.Command, []string) { fmt.Println(o.cluster().Layout.Kubeconfig()) }},
		&cobra.Command{Use: "load IMAGE.tar...", Short: "load image archives into every node", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				c := o.cluster()
				return c.Report.Step(fmt.Sprintf("loading %d images into the nodes", len(args)), func() error { return c.Load(cmd.Context(), args) })
			}},
		&cobra.Command{Use: "exec-node NODE -- COMMAND...", Short: "run a command in the namespaces of a node, of control or of outside",
			Args: cobra.MinimumNArgs(2), RunE: func(_ *cobra.Command, args []string) error { return execNode(o.cluster(), args) }},
		&cobra.Command{Use: "kubectl [ARGUMENTS]", Short: "run kubectl on the cluster", DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error {
				return replace(o.cluster().Layout.Binary("kubectl"), args...)
			}},
		&cobra.Command{Use: "kubernetes", Short: "build the binary of all Kubernetes programs, if need be, and print its path", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				b := o.cluster().Builder
				b.Log = os.Stderr
				path, err := b.Kubernetes(cmd.Context())
				if err == nil {
					fmt.Println(path)
				}
				return err
			}},
		captureCommand(&o),
		outageCommand(&o),
		&cobra.Command{Use: "smoke", Short: "try out everything that the cluster promises", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return smoke.Run(cmd.Context(), o.cluster()) }},
	)
	for _, c := range internalCommands(&o) {
		c.Hidden = true
		root.AddCommand(c)
	}
	return root
}

// unprivileged are the commands that touch nothing of the machine.
func unprivileged(command string) bool {
	return command == "kubeconfig" || command == "kubernetes" || command == "help"
}

// changing is a command that no other may overlap with.
func changing(o *options, use, short string, run func(context.Context, lifecycle.Cluster, *lifecycle.Guard) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c := o.cluster()
		lock, err := lifecycle.Lock(c.Report)
		if err != nil {
			return err
		}
		defer lock.Release()
		return run(cmd.Context(), c, lock)
	}}
}

func down(ctx context.Context, c lifecycle.Cluster, lock *lifecycle.Guard) error {
	if err := c.Down(ctx); err != nil {
		return err
	}
	return lock.Remove()
}

func up(ctx context.Context, c lifecycle.Cluster, _ *lifecycle.Guard) error {
	if err := c.Up(ctx); err != nil {
		return err
	}
	c.Report.Say("the cluster runs: nodes worker, edge and roamer\n  export KUBECONFIG=%s\n  kubectl: %s",
		c.Layout.Kubeconfig(), c.Layout.Binary("kubectl"))
	return nil
}

func execNode(c lifecycle.Cluster, args []string) error {
	line, err := c.Inside(args[0], args[1:]...)
	if err != nil {
		return err
	}
	return replace(line[0], line[1:]...)
}

// internalCommands are the programs that the cluster itself starts.
func internalCommands(o *options) []*cobra.Command {
	return []*cobra.Command{
		{Use: "fetch URL", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			text, err := smoke.Fetch(args[0])
			fmt.Println(text)
			return err
		}},
		{Use: "supervise SPEC", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			spec, err := supervise.Load(args[0])
			if err != nil {
				return err
			}
			return supervise.Run(spec)
		}},
		{Use: "serve-outside", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return serveOutside(cmd.Context(), o.cluster()) }},
		{Use: "serve-balancer", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return serveBalancer(cmd.Context(), o.cluster()) }},
	}
}

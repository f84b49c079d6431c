// Package cli is the command line of meshctl: flags, exit codes and what is printed. What a command does is in the packages
// beside it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// Exit codes.
const (
	ExitOK        = 0
	ExitFailed    = 1 // the command could not do what was asked; of explain: the request would not succeed
	ExitUsage     = 2 // the command line is wrong
	ExitFound     = 3 // check or analyze found errors
	ExitNoCluster = 4 // no cluster could be talked to
)

// errFound ends a command that printed its findings, and found errors among them.
var errFound = errors.New("errors were found")

// errRefused ends an explanation of a request that would not succeed.
var errRefused = errors.New("the request would not succeed")

// usageError is a wrong command line.
type usageError struct{ error }

// app is what all commands share.
type app struct {
	version string
	in      io.Reader
	out     io.Writer
	err     io.Writer
	flags   *genericclioptions.ConfigFlags
	format  output.Format
}

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run executes one command line and returns its exit code.
func Run(ctx context.Context, version string, args []string, s Streams) int {
	kube.ManagedFieldsManager = "helm" // as Helm's own commands, which otherwise could not change what meshctl installed
	a := &app{version: version, in: s.In, out: s.Out, err: s.Err, flags: genericclioptions.NewConfigFlags(true), format: output.Text}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errFound) && !errors.Is(err, errRefused) {
		fmt.Fprintf(s.Err, "meshctl: %v\n", cluster.Explain(err))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errFound):
		return ExitFound
	case errors.Is(err, cluster.ErrNoCluster):
		return ExitNoCluster
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFailed
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "meshctl",
		Short:         "Install, inspect and debug the Heddle service mesh",
		Long:          "Install, inspect and debug the Heddle service mesh. Every flag by which kubectl reaches a cluster works here too.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          subcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	a.flags.AddFlags(root.PersistentFlags())
	for _, name := range rare() {
		_ = root.PersistentFlags().MarkHidden(name) // fails for flags that a later kubectl may not have
	}
	root.AddCommand(a.install(), a.uninstall(), a.gateway(), a.tag(), a.charts(), a.check(), a.versions(), a.proxyStatus(), a.proxyConfig(), a.inject(), a.analyze(),
		a.explain(), a.describe(), a.workload())
	root.InitDefaultHelpCmd()
	if c, _, err := root.Find([]string{"help"}); err == nil {
		c.Args = topic
	}
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.Args, c.RunE = subcommand, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	checkArgs(root)
	return root
}

// topic refuses what help knows nothing of.
func topic(c *cobra.Command, args []string) error {
	of := c.Root()
	for _, name := range args {
		below, _, err := of.Find([]string{name})
		switch {
		case !of.HasAvailableSubCommands():
			return fmt.Errorf("%s has no command %q", of.Name(), name)
		case err != nil || below == of:
			return subcommand(of, []string{name})
		}
		of = below
	}
	return nil
}

// rare are flags of kubectl that few want: they work, and the help leaves them out.
func rare() []string {
	return []string{"as", "as-group", "as-uid", "as-user-extra", "cache-dir", "certificate-authority", "client-certificate", "client-key", "cluster",
		"disable-compression", "insecure-skip-tls-verify", "proxy-url", "request-timeout", "server", "tls-server-name", "token", "user"}
}

// checkArgs makes wrong arguments a usageError, for a command and those below it.
func checkArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				if _, path, below := strings.Cut(cmd.CommandPath(), " "); below { // Run says meshctl itself
					err = fmt.Errorf("%s: %w", path, err)
				}
				return usageError{err}
			}
			return nil
		}
	}
	for _, below := range c.Commands() {
		checkArgs(below)
	}
}

// noArgs refuses arguments.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("it takes no argument, not %q", args[0])
	}
	return nil
}

// subcommand refuses what is no command below this one.
func subcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			known = append(known, below.Name())
		}
	}
	return fmt.Errorf("%q is none of %s", args[0], strings.Join(known, ", "))
}

// one demands the argument of a name.
func one(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("it takes one %s, not %d", name, len(args))
		}
		return nil
	}
}

// noFiles has -f, by which other commands read files, say that this one does not.
func noFiles(c *cobra.Command) {
	c.Flags().VarP(running{}, "filename", "f", "")
	_ = c.Flags().MarkHidden("filename") // it is there
}

// running is the flag of commands that ask a running mesh.
type running struct{}

// String implements pflag.Value.
func (running) String() string { return "" }

// Type implements pflag.Value.
func (running) Type() string { return "" }

// Set implements pflag.Value.
func (running) Set(string) error { return errors.New("this asks a running mesh, and reads no files") }

// connect talks to the cluster that the flags name.
func (a *app) connect(ctx context.Context) (*cluster.Cluster, error) {
	return cluster.Connect(ctx, a.flags)
}

// formatted adds -o to a command that prints objects.
func (a *app) formatted(c *cobra.Command) *cobra.Command {
	c.Flags().VarP(&a.format, "output", "o", "output format: text, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)) // fails for unknown flags only
	return c
}

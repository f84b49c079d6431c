package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
)

func forwarder(c *cluster.Cluster) proxy.Asker { return proxy.NewForwarder(c.Config, c.Kube) }

func (a *app) proxyStatus() *cobra.Command {
	return a.formatted(&cobra.Command{
		Use:     "proxy-status",
		Aliases: []string{"ps"},
		Short:   "Say how far each proxy got with what it was told",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			all, err := proxy.ReadStatus(cmd.Context(), c.Kube, forwarder(c))
			if err != nil {
				return err
			}
			return output.Print(a.out, a.format, all, func(w io.Writer) error { return proxy.StatusTable(w, all) })
		},
	})
}

func (a *app) proxyConfig() *cobra.Command {
	c := &cobra.Command{Use: "proxy-config", Aliases: []string{"pc"}, Short: "Show what one proxy has in force", Args: subcommand,
		Long: "Show what one proxy has in force. PROXY is a pod, POD.NAMESPACE, or deploy/NAME.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, view := range proxy.Views() {
		c.AddCommand(a.view(view))
	}
	c.AddCommand(a.logLevel())
	return c
}

func (a *app) view(v proxy.View) *cobra.Command {
	var match string
	c := &cobra.Command{
		Use:     v.Name + " PROXY",
		Aliases: []string{strings.TrimSuffix(v.Name, "s")},
		Short:   "Show a proxy's " + v.Name,
		Args:    one("PROXY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			pod, err := proxy.Find(cmd.Context(), c.Kube, args[0], c.Namespace)
			if err != nil {
				return err
			}
			answer, err := v.Read(cmd.Context(), forwarder(c), pod)
			if err != nil {
				return err
			}
			var value any
			if err := json.Unmarshal(answer, &value); err != nil {
				return fmt.Errorf("reading the answer of %s: %w", pod, err)
			}
			return output.Print(a.out, a.format, value, func(w io.Writer) error { return v.Table(w, answer, match) })
		},
	}
	c.Flags().StringVar(&match, "name", "", "only what has this in its name (tables only)")
	return a.formatted(c)
}

func (a *app) logLevel() *cobra.Command {
	levels := []string{"debug", "info", "warn", "error"}
	var level string
	c := &cobra.Command{
		Use:   "log PROXY",
		Short: "Show or set a proxy's log level",
		Args:  one("PROXY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if level != "" && !slices.Contains(levels, level) {
				return usageError{fmt.Errorf("--level %q is none of %s", level, strings.Join(levels, ", "))}
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			pod, err := proxy.Find(cmd.Context(), c.Kube, args[0], c.Namespace)
			if err != nil {
				return err
			}
			got, err := proxy.Level(cmd.Context(), forwarder(c), pod, level)
			if err != nil {
				return err
			}
			value := map[string]string{"proxy": pod.String(), "level": got}
			return output.Print(a.out, a.format, value, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s: %s\n", pod, got)
				return err
			})
		},
	}
	c.Flags().StringVar(&level, "level", "", "set it: "+strings.Join(levels, ", "))
	return a.formatted(c)
}

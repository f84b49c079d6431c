package cli

import (
	"context"
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
		Long: "Show what one proxy has in force. PROXY is a pod, POD.NAMESPACE, or deploy/NAME. JSON and YAML are Envoy's config dump, but of names.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, view := range proxy.Views() {
		c.AddCommand(a.view(view))
	}
	c.AddCommand(a.logLevel())
	return c
}

func (a *app) view(v proxy.View) *cobra.Command {
	var match, file string
	c := &cobra.Command{
		Use:     v.Name + " PROXY",
		Aliases: []string{strings.TrimSuffix(v.Name, "s")},
		Short:   shortOf(v),
		Args: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				return noArgs(cmd, args)
			}
			return one("PROXY")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := a.answer(cmd.Context(), v, file, args)
			if err != nil {
				return err
			}
			return output.Print(a.out, a.format, answer.Value(), func(w io.Writer) error { return answer.Table(w, match) })
		},
	}
	c.Flags().StringVar(&match, "name", "", "only what has this in its name (tables only)")
	c.Flags().StringVarP(&file, "file", "f", "", "config dump in JSON, Heddle's or Envoy's, or - for standard input, in place of PROXY")
	return a.formatted(c)
}

func shortOf(v proxy.View) string {
	if v.Name == "all" {
		return "Show everything in a proxy's config dump"
	}
	return "Show a proxy's " + v.Name
}

// answer is a file's, or a proxy's.
func (a *app) answer(ctx context.Context, v proxy.View, file string, args []string) (proxy.Answer, error) {
	if file != "" {
		content, err := a.file(file)
		if err != nil {
			return proxy.Answer{}, err
		}
		return v.ReadFile(content)
	}
	c, err := a.connect(ctx)
	if err != nil {
		return proxy.Answer{}, err
	}
	pod, err := proxy.Find(ctx, c.Kube, args[0], c.Namespace)
	if err != nil {
		return proxy.Answer{}, err
	}
	answer, err := v.Read(ctx, forwarder(c), pod, a.format == output.Text)
	if err != nil {
		return proxy.Answer{}, fmt.Errorf("asking %s: %w", pod, err)
	}
	return answer, nil
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

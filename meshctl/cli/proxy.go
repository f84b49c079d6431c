package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
	"github.com/heddle-mesh/heddle/meshctl/replica"
)

func forwarder(c *cluster.Cluster) proxy.Asker { return proxy.NewForwarder(c.Config, c.Kube) }

func (a *app) proxyStatus() *cobra.Command {
	c := &cobra.Command{
		Use:     "proxy-status",
		Aliases: []string{"ps"},
		Short:   "Say how far each proxy got with what it was told",
		Long: "Say how far each proxy got with what it was told. The control plane of a running mesh is asked: files do not know that. What a proxy would be told of\n" +
			"the objects of files, \"proxy-config\" shows with -f.",
		Args: noArgs,
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
	}
	noFiles(c)
	return a.formatted(c)
}

func (a *app) proxyConfig() *cobra.Command {
	c := &cobra.Command{Use: "proxy-config", Aliases: []string{"pc"}, Short: "Show what one proxy has in force", Args: subcommand,
		Long: "Show what one proxy has in force. PROXY is a pod, POD.NAMESPACE, or deploy/NAME. JSON and YAML are Envoy's config dump, but of names.\n\n" +
			"With -f FILE and a PROXY, no cluster is asked: the packages of heddled generate what the proxy would be told of the objects in the files, of which a Deployment\n" +
			"(or the like) counts as one ready pod, as in \"explain\". With -f FILE alone, FILE is a config dump that a proxy gave before, Heddle's or Envoy's.",
		Example: "  meshctl proxy-config routes web.shop\n" +
			"  meshctl proxy-config clusters deploy/web -n shop -f manifests/\n" +
			"  meshctl proxy-config all -f dump.json",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	for _, view := range proxy.Views() {
		c.AddCommand(a.view(view))
	}
	c.AddCommand(a.logLevel())
	return c
}

func (a *app) view(v proxy.View) *cobra.Command {
	var match, domain string
	var files []string
	c := &cobra.Command{
		Use:     v.Name + " PROXY [-f FILE]...",
		Aliases: []string{strings.TrimSuffix(v.Name, "s")},
		Short:   shortOf(v),
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case domain != "" && (len(files) == 0 || len(args) == 0):
				return errors.New("--cluster-domain is for the objects of files, of which PROXY is told")
			case len(args) > 0 || len(files) == 0:
				return one("PROXY")(cmd, args)
			case len(files) > 1:
				return fmt.Errorf("it takes one config dump, not %d: for the objects of files, name the PROXY", len(files))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := a.answer(cmd.Context(), v, source{files, domain}, args)
			if err != nil {
				return err
			}
			return output.Print(a.out, a.format, answer.Value(), func(w io.Writer) error { return answer.Table(w, match) })
		},
	}
	c.Flags().StringVar(&match, "name", "", "only what has this in its name (tables only)")
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "with PROXY: "+objectFiles+"; without: a config dump in JSON, Heddle's or Envoy's, or -")
	clusterDomain(c, &domain)
	return a.formatted(c)
}

func shortOf(v proxy.View) string {
	if v.Name == "all" {
		return "Show everything in a proxy's config dump"
	}
	return "Show a proxy's " + v.Name
}

// source is what is read in place of a proxy: files, for a cluster of a domain.
type source struct {
	files  []string
	domain string
}

// answer is a dump's, that of what would be told of files, or a proxy's.
func (a *app) answer(ctx context.Context, v proxy.View, from source, args []string) (proxy.Answer, error) {
	switch {
	case len(args) == 0:
		content, err := a.file(from.files[0])
		if err != nil {
			return proxy.Answer{}, err
		}
		return v.ReadFile(content)
	case len(from.files) > 0:
		return a.generated(ctx, v, from, args[0])
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

// generated is what a pod's proxy would be told of the objects of files.
func (a *app) generated(ctx context.Context, v proxy.View, from source, name string) (proxy.Answer, error) {
	m, namespace, err := a.replica(ctx, from.files, from.domain)
	if err != nil {
		return proxy.Answer{}, err
	}
	pod, err := m.Find(name, namespace)
	if err != nil {
		return proxy.Answer{}, err
	}
	if pod.Role == replica.NoProxy {
		return proxy.Answer{}, fmt.Errorf("pod %s has no proxy", pod.Name)
	}
	p, err := m.Proxy(pod)
	if err != nil {
		return proxy.Answer{}, err
	}
	return v.ReadGenerated(p)
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

package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/check"
	"github.com/heddle-mesh/heddle/meshctl/install"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
)

func (a *app) check() *cobra.Command {
	var pre bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say whether the cluster can have Heddle, and whether what is installed is sound",
		Long:  "Say whether the cluster can have Heddle, and whether what is installed is sound. Exit code 3: errors were found.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			i := install.New(cl, install.Options{Version: a.version, Out: io.Discard})
			found, err := check.New(cl, i, func(ctx context.Context, of string) (inject.Params, error) {
				return proxy.ReadInjection(ctx, cl.Kube, forwarder(cl), of)
			}).Run(cmd.Context(), pre)
			if err != nil {
				return err
			}
			return a.findings(found)
		},
	}
	c.Flags().BoolVar(&pre, "pre", false, "only what an installation needs")
	return a.formatted(c)
}

func (a *app) findings(found []check.Finding) error {
	err := output.Print(a.out, a.format, found, func(w io.Writer) error {
		rows := make([][]string, 0, len(found))
		for _, f := range found {
			rows = append(rows, []string{strings.ToUpper(string(f.Level)), f.Check, f.Message})
		}
		return output.Table(w, []string{"LEVEL", "CHECK", "MESSAGE"}, rows)
	})
	if err == nil && check.Worst(found) == check.Error {
		return errFound
	}
	return err
}

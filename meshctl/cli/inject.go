package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/injector/inject"
	"github.com/heddle-mesh/heddle/meshctl/proxy"
)

func (a *app) inject() *cobra.Command {
	var file, image, of string
	c := &cobra.Command{
		Use:   "inject -f FILE",
		Short: "Put proxies into the workloads of a file, as the webhook would",
		Long: "Put proxies into the workloads of a file, as the webhook would, and print the file. The control plane is asked for its settings;\n" +
			"with --image no cluster is asked, and an installation's defaults apply.",
		Example: "  meshctl inject -f deployment.yaml | kubectl apply -f -",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("inject: name a file with -f, or - for standard input")}
			}
			text, err := a.file(file)
			if err != nil {
				return err
			}
			params, err := a.injection(cmd.Context(), image, of)
			if err != nil {
				return err
			}
			return a.injected(text, params)
		},
	}
	c.Flags().StringVarP(&file, "filename", "f", "", "YAML or JSON file, - for standard input")
	c.Flags().StringVar(&image, "image", "", "image of the proxy; no cluster is asked then")
	c.Flags().StringVar(&of, "revision", "", "the control plane's revision that is asked")
	return c
}

func (a *app) injection(ctx context.Context, image, of string) (inject.Params, error) {
	if image != "" {
		return inject.DefaultParams(image, a.version), nil
	}
	c, err := a.connect(ctx)
	if err != nil {
		return inject.Params{}, err
	}
	return proxy.ReadInjection(ctx, c.Kube, forwarder(c), of)
}

func (a *app) injected(text []byte, params inject.Params) error {
	params.HookToken = rand.Text()
	out, outcomes, err := inject.InjectYAML(bytes.NewReader(text), a.namespace(), params)
	if err != nil {
		return err
	}
	if len(outcomes) == 0 {
		fmt.Fprintln(a.err, "nothing injected: no object of the file makes pods")
	}
	for _, o := range outcomes {
		if !o.Injected {
			fmt.Fprintf(a.err, "%s: not injected: %s\n", o.Object, o.Reason)
		}
		for _, warning := range o.Warnings {
			fmt.Fprintf(a.err, "%s: %s\n", o.Object, warning)
		}
	}
	_, err = a.out.Write(out)
	return err
}

package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/meshctl/analyze"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

func (a *app) analyze() *cobra.Command {
	var files []string
	var around bool
	c := &cobra.Command{
		Use:   "analyze [-f FILE]...",
		Short: "Say what is wrong with objects, in files or in the cluster",
		Long: "Say what is wrong with objects, by the checks of the validating webhook: of files by themselves (-f), of files among the\n" +
			"cluster's objects (-f with --cluster-objects), or of the cluster's objects. Exit code 3: errors were found.",
		Example: "  meshctl analyze -f routes.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			texts, err := a.texts(files)
			if err != nil {
				return err
			}
			var in *inputs.Inputs
			if around || len(files) == 0 {
				cl, err := a.connect(cmd.Context())
				if err != nil {
					return err
				}
				if in, err = analyze.FromCluster(cmd.Context(), cl.Kube, cl.Dynamic); err != nil {
					return err
				}
			}
			found, err := analyze.Analyze(texts, in)
			if err != nil {
				return err
			}
			err = output.Print(a.out, a.format, found, func(w io.Writer) error { return analyze.Table(w, found) })
			if err == nil && analyze.Errors(found) {
				return errFound
			}
			return err
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "YAML or JSON file, - for standard input (can be repeated)")
	c.Flags().BoolVar(&around, "cluster-objects", false, "judge the files among the cluster's objects")
	return a.formatted(c)
}

// texts reads files; - is standard input.
func (a *app) texts(files []string) ([]analyze.Text, error) {
	var out []analyze.Text
	for _, name := range files {
		content, err := a.file(name)
		if err != nil {
			return nil, err
		}
		out = append(out, analyze.Text{Name: name, Content: content})
	}
	return out, nil
}

func (a *app) file(name string) ([]byte, error) {
	if name == "-" {
		content, err := io.ReadAll(a.in)
		if err != nil {
			return nil, fmt.Errorf("reading standard input: %w", err)
		}
		return content, nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading a file: %w", err)
	}
	return content, nil
}

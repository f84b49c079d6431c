package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/meshctl/analyze"
	"github.com/heddle-mesh/heddle/meshctl/cluster"
	"github.com/heddle-mesh/heddle/meshctl/output"
	"github.com/heddle-mesh/heddle/meshctl/survey"
	"github.com/heddle-mesh/heddle/pilot/inputs"
)

func (a *app) analyze() *cobra.Command {
	var files []string
	var around, deep bool
	var domain string
	c := &cobra.Command{
		Use:   "analyze [-f FILE]...",
		Short: "Say what is wrong with objects, in files or in the cluster",
		Long: "Say what is wrong with objects, by the checks of the validating webhook: of files by themselves (-f), of files among the\n" +
			"cluster's objects (-f with --cluster-objects), or of the cluster's objects (with -n, of those in one namespace). Objects of files\n" +
			"that name no namespace are in that of -n or of the context. Findings have the codes of Istio's analysis, where it has one. Exit code 3:\n" +
			"errors were found.",
		Example: "  meshctl analyze -f routes.yaml\n  meshctl analyze -R -f folder --cluster-objects\n  meshctl analyze -n shop",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			texts, err := a.texts(files, deep)
			if err != nil {
				return err
			}
			var in *inputs.Inputs
			params := defaults(domain)
			from := survey.Sources{Injection: &params}
			if around || len(files) == 0 {
				cl, err := a.connect(cmd.Context())
				if err != nil {
					return err
				}
				if in, err = a.surroundings(cmd.Context(), cl); err != nil {
					return err
				}
				params = a.installation(cmd.Context(), cl, domain)
				from.Secrets = analyze.SecretsOf(cmd.Context(), cl.Kube)
				if len(files) == 0 {
					from.Listening = analyze.ListeningIn(cmd.Context(), forwarder(cl), *a.flags.Namespace)
				}
			}
			found, err := analyze.Analyze(texts, a.namespace(), in, from)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				found = analyze.In(found, *a.flags.Namespace)
			}
			err = output.Print(a.out, a.format, found, func(w io.Writer) error { return analyze.Table(w, found) })
			if err == nil && analyze.Errors(found) {
				return errFound
			}
			return err
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "YAML or JSON file, folder of such, or - for standard input (can be repeated)")
	c.Flags().BoolVarP(&deep, "recursive", "R", false, "read the folders within folders, too")
	c.Flags().BoolVar(&around, "cluster-objects", false, "judge the files among the cluster's objects")
	clusterDomain(c, &domain)
	return a.formatted(c)
}

// surroundings are the cluster's objects and what runs in it. What may not be listed is told of, and nothing is said of it.
func (a *app) surroundings(ctx context.Context, cl *cluster.Cluster) (*inputs.Inputs, error) {
	in, err := analyze.FromCluster(ctx, cl.Kube, cl.Dynamic)
	if err != nil {
		return nil, err
	}
	forbidden, err := analyze.Running(ctx, cl.Kube, in)
	for _, one := range forbidden {
		fmt.Fprintf(a.err, "meshctl: not looked at: %v\n", one)
	}
	return in, err
}

// texts reads files and what folders hold, in the order of names; - is standard input.
func (a *app) texts(names []string, deep bool) ([]analyze.Text, error) {
	var out []analyze.Text
	for _, name := range names {
		files, err := filesOf(name, deep)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			content, err := a.file(file)
			if err != nil {
				return nil, err
			}
			out = append(out, analyze.Text{Name: file, Content: content})
		}
	}
	return out, nil
}

// filesOf returns the YAML and JSON files of a folder, and of those within it where deep, of which one at least must be; any other name
// means itself.
func filesOf(name string, deep bool) ([]string, error) {
	if about, err := os.Stat(name); name == "-" || err != nil || !about.IsDir() {
		return []string{name}, nil
	}
	var files []string
	err := filepath.WalkDir(name, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != name && !deep:
			return fs.SkipDir
		case !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			files = append(files, path)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading a folder: %w", err)
	case len(files) == 0 && deep:
		return nil, fmt.Errorf("folder %s holds no .yaml, .yml or .json file", name)
	case len(files) == 0:
		return nil, fmt.Errorf("folder %s holds no .yaml, .yml or .json file itself; -R reads the folders within it", name)
	}
	return files, nil
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

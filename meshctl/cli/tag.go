package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/install"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// tag is a command per thing that can be done with tags.
func (a *app) tag() *cobra.Command {
	c := &cobra.Command{
		Use:   "tag",
		Short: "Give revisions of the control plane other names, which namespaces keep while revisions change",
		Long: "Give revisions of the control plane other names. Namespaces and pods labelled " + wire.RevisionLabel + "=TAG are of the revision that the tag stands\n" +
			"for now; once a tag was moved, new pods are of the other revision. The tag \"" + wire.DefaultRevision + "\" is what " + wire.InjectionLabel + "=enabled means.\n\n" +
			"Tags are kept in the cluster: these commands need one, and read no files.",
		Example: "  meshctl install --revision v2\n  meshctl tag set prod --revision v2 --overwrite\n  kubectl rollout restart deployment -n shop",
		Args:    subcommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, below := range []*cobra.Command{a.setTag(), a.generateTag(), a.listTags(), a.removeTag()} {
		noFiles(below)
		c.AddCommand(below)
	}
	return c
}

// tagger is an Installer for what the flags say.
func (a *app) tagger(cmd *cobra.Command, of string) (*install.Installer, error) {
	return a.installer(cmd, &chartFlags{revision: of, timeout: defaultTimeout})
}

func (a *app) setTag() *cobra.Command {
	var of string
	var overwrite bool
	c := &cobra.Command{
		Use:   "set TAG --revision REVISION",
		Short: "Have a tag stand for a revision",
		Args:  one("TAG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if of == "" {
				return usageError{errors.New("tag set: name a revision with --revision")}
			}
			i, err := a.tagger(cmd, of)
			if err != nil {
				return err
			}
			return i.SetTag(cmd.Context(), args[0], overwrite)
		},
	}
	c.Flags().StringVar(&of, "revision", "", "the revision that the tag is to stand for")
	c.Flags().BoolVar(&overwrite, "overwrite", false, "even if the tag stands for another revision")
	return c
}

func (a *app) generateTag() *cobra.Command {
	var of string
	c := &cobra.Command{
		Use:   "generate TAG --revision REVISION",
		Short: "Print what \"tag set\" would write",
		Args:  one("TAG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if of == "" {
				return usageError{errors.New("tag generate: name a revision with --revision")}
			}
			i, err := a.tagger(cmd, of)
			if err != nil {
				return err
			}
			configuration, err := i.GenerateTag(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			text, err := yaml.Marshal(configuration)
			if err != nil {
				return fmt.Errorf("writing yaml: %w", err)
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	c.Flags().StringVar(&of, "revision", "", "the revision that the tag is to stand for")
	return c
}

func (a *app) listTags() *cobra.Command {
	return a.formatted(&cobra.Command{
		Use:   "list",
		Short: "List the tags and the namespaces that are labelled with them",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := a.tagger(cmd, "")
			if err != nil {
				return err
			}
			tags, err := i.Tags(cmd.Context())
			if err != nil {
				return err
			}
			if tags == nil {
				tags = []install.Tag{}
			}
			return output.Print(a.out, a.format, tags, func(w io.Writer) error {
				rows := make([][]string, 0, len(tags))
				for _, t := range tags {
					rows = append(rows, []string{t.Name, t.Revision, cmp.Or(strings.Join(t.Namespaces, ","), "-")})
				}
				return output.Table(w, []string{"TAG", "REVISION", "NAMESPACES"}, rows)
			})
		},
	})
}

func (a *app) removeTag() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "remove TAG",
		Short: "Remove a tag",
		Args:  one("TAG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.tagger(cmd, "")
			if err != nil {
				return err
			}
			return i.RemoveTag(cmd.Context(), args[0], force)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "even while namespaces are labelled with it")
	return c
}

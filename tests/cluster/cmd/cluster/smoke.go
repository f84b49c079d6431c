package main

import (
	"github.com/spf13/cobra"
)

func smokeCommand(o *options) *cobra.Command {
	return &cobra.Command{Use: "smoke", Short: "try out everything that the cluster promises", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return nil }}
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// outageCommand takes a program of the cluster away for a while. However it ends, the program goes on, unless this command is killed.
func outageCommand(o *options) *cobra.Command {
	var kill bool
	var length time.Duration
	cmd := &cobra.Command{
		Use: "outage GROUP PROGRAM", Args: cobra.ExactArgs(2),
		Short: "freeze a program of a group for a while; prints `away` when it has begun",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), length)
			defer cancel()
			return o.cluster().Outage(ctx, args[0], args[1], kill, func() { fmt.Println("away") })
		},
	}
	cmd.Flags().DurationVar(&length, "for", time.Minute, "how long; an interrupt ends it earlier")
	cmd.Flags().BoolVar(&kill, "kill", false, "kill it, as often as it is started, in place of freezing it")
	return cmd
}

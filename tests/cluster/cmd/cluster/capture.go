package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/capture"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
)

// captureCommand runs itself again inside the control plane's network, whose bridge every packet between two nodes crosses.
func captureCommand(o *options) *cobra.Command {
	var inside bool
	var length time.Duration
	cmd := &cobra.Command{
		Use: "capture MARKER", Args: cobra.ExactArgs(1),
		Short: "count the packets between nodes, and those with a text in them; prints `capturing` when it has begun, then JSON",
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return errors.New("an empty marker is in every packet")
			}
			if !inside {
				self, err := os.Executable()
				if err != nil {
					return err
				}
				return replace("nsenter", "--net=/run/netns/"+plan.Namespace(plan.Control), "--", self, "capture", "--inside", "--for="+length.String(), "--", args[0])
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), length)
			defer cancel()
			seen, err := capture.Run(ctx, []byte(args[0]), func() { fmt.Println("capturing") })
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(seen)
		},
	}
	cmd.Flags().DurationVar(&length, "for", 5*time.Second, "how long; an interrupt ends it earlier")
	cmd.Flags().BoolVar(&inside, "inside", false, "already in the control plane's network")
	_ = cmd.Flags().MarkHidden("inside")
	return cmd
}

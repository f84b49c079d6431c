package discovery

import (
	"fmt"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/heddle-mesh/heddle/api/wire"
)

// announced reads the dialect of a proxy; 0: a foreign one's. One that cannot be read is refused: its proxy is neither foreign nor understood.
func announced(n *core.Node) (int, error) {
	text := n.GetMetadata().GetFields()[wire.MetaDialect].GetStringValue()
	if text == "" {
		return 0, nil
	}
	dialect, err := strconv.Atoi(text)
	if err != nil || dialect < 1 {
		return 0, status.Errorf(codes.InvalidArgument, "the node's %s: %q is no dialect: they count up from 1", wire.MetaDialect, text)
	}
	return dialect, nil
}

// skew says what becomes of a proxy whose dialect is not generated for, which is from oldest to newest; "": nothing is amiss.
func skew(dialect, oldest, newest int) string {
	switch {
	case dialect == 0: // foreign
	case dialect < oldest:
		return fmt.Sprintf("announces dialect %d, older than the oldest that this control plane speaks, %d: it is told what that one knows and refuses what it does not understand; restart its pod to have a newer proxy",
			dialect, oldest)
	case dialect > newest:
		return fmt.Sprintf("announces dialect %d, newer than this control plane's, %d: it is told what this one knows; upgrade the control plane before its proxies", dialect, newest)
	}
	return ""
}

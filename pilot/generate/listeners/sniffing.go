package listeners

import (
	"iter"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	xdstype "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/heddle-mesh/heddle/pilot/model"
)

// sniffed says whether what comes to the port may be HTTP in plaintext.
func (p Port) sniffed() bool {
	return !p.foreign() && (p.Protocol.IsHTTP() || p.Protocol == model.Unknown)
}

// inspectHTTPBut recognises HTTP, but not at those of the ports that carry something else: what only begins like HTTP would wait there for more.
func inspectHTTPBut(ports iter.Seq[Port]) *listener.ListenerFilter {
	var others []*listener.ListenerFilterChainMatchPredicate
	for p := range ports {
		if !p.sniffed() {
			others = append(others, &listener.ListenerFilterChainMatchPredicate{Rule: &listener.ListenerFilterChainMatchPredicate_DestinationPortRange{
				DestinationPortRange: &xdstype.Int32Range{Start: int32(p.Port), End: int32(p.Port) + 1}}})
		}
	}
	out := inspectHTTP()
	switch len(others) {
	case 0:
	case 1:
		out.FilterDisabled = others[0]
	default: // Envoy takes no fewer than two
		out.FilterDisabled = &listener.ListenerFilterChainMatchPredicate{Rule: &listener.ListenerFilterChainMatchPredicate_OrMatch{
			OrMatch: &listener.ListenerFilterChainMatchPredicate_MatchSet{Rules: others}}}
	}
	return out
}

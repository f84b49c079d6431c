package compile

import (
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/sidecar/filter"
)

// routeFilter makes a filter that routes may override.
func routeFilter(in *anypb.Any) (*filter.Named, error) {
	return nil, wrong("type", "%q is not implemented", in.MessageName())
}

// overrides reads what a route or virtual host says to filters.
func overrides(in map[string]*anypb.Any) ([]filter.Override, error) {
	for name := range in {
		return nil, wrong("typed_per_filter_config["+name+"]", "not implemented")
	}
	return nil, nil
}

package replica

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/compile/configdump"
	"github.com/heddle-mesh/heddle/sidecar/compile/values"
)

// Dump is the proxy's configuration in the form in which proxies answer for theirs, Envoy's config dump. It lacks the bootstrap and the secrets, which
// objects do not decide.
func (p *Proxy) Dump() ([]byte, error) {
	all, err := p.compiler.Versions()
	if err != nil {
		return nil, fmt.Errorf("reading the configuration of %s: %w", p.Pod, err)
	}
	return configdump.Proxy{Resources: all}.JSON(configdump.Query{Endpoints: true})
}

// Names are what the proxy would answer DNS questions with, in the form in which proxies say so.
func (p *Proxy) Names() ([]byte, error) {
	all, err := p.compiler.Dump(values.Word(wire.TypeNames))
	if err != nil {
		return nil, fmt.Errorf("reading the names that %s knows: %w", p.Pod, err)
	}
	return json.Marshal(struct {
		Resources []compile.Dumped `json:"resources"`
	}{slices.Concat([]compile.Dumped{}, all)})
}

package proxy

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

var endpointColumns = []string{"CLUSTER", "ENDPOINT", "HEALTH", "WEIGHT", "PRIORITY", "ACTIVE", "MTLS", "IDENTITY", "WORKLOAD"}

// live is what a proxy of ours knows of a cluster at this moment.
type live struct {
	Name      string `json:"name"`
	Endpoints []struct {
		Address  string `json:"address"`
		Identity string `json:"identity"`
		Workload string `json:"workload"`
		Weight   int    `json:"weight"`
		Priority int    `json:"priority"`
		TLSMode  string `json:"tls_mode"`
		Healthy  bool   `json:"healthy"`
		Ejected  bool   `json:"ejected"`
		Active   int    `json:"active"`
	} `json:"endpoints"`
}

func liveEndpoints(w io.Writer, answer []byte, match string) error {
	all, err := parse[[]live](answer)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, c := range all {
		if !strings.Contains(c.Name, match) {
			continue
		}
		for _, e := range c.Endpoints {
			health := "healthy"
			switch {
			case e.Ejected:
				health = "ejected"
			case !e.Healthy:
				health = "unhealthy"
			}
			rows = append(rows, []string{c.Name, e.Address, health, strconv.Itoa(e.Weight), strconv.Itoa(e.Priority), strconv.Itoa(e.Active), e.TLSMode, e.Identity, e.Workload})
		}
	}
	return output.Table(w, endpointColumns, rows)
}

type assignment struct {
	Cluster string `json:"cluster_name"`
	Groups  []struct {
		Priority  int        `json:"priority"`
		Endpoints []endpoint `json:"lb_endpoints"`
	} `json:"endpoints"`
}

type endpoint struct {
	Endpoint struct {
		Address address `json:"address"`
	} `json:"endpoint"`
	Health   string `json:"health_status"`
	Weight   int    `json:"load_balancing_weight"`
	Metadata struct {
		Filters map[string]map[string]any `json:"filter_metadata"`
	} `json:"metadata"`
}

type assignmentState struct {
	Config assignment `json:"endpoint_config"`
	Error  failure    `json:"error_state"`
}

type endpointsDump struct {
	Static  []assignmentState `json:"static_endpoint_configs"`
	Dynamic []assignmentState `json:"dynamic_endpoint_configs"`
}

// endpoints are those of a dump, which knows of no request that is under way.
func endpoints(w io.Writer, dump []byte, match string) error {
	d, err := parse[endpointsDump](dump)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, a := range slices.Concat(d.Static, d.Dynamic) {
		if !strings.Contains(a.Config.Cluster, match) {
			continue
		}
		for _, g := range a.Config.Groups {
			for _, e := range g.Endpoints {
				identity, workload := e.facts()
				rows = append(rows, []string{a.Config.Cluster, e.Endpoint.Address.String(), e.health(), strconv.Itoa(max(e.Weight, 1)), strconv.Itoa(g.Priority), "",
					e.text(wire.TLSModeMatch, "tls_mode"), identity, workload})
			}
		}
	}
	return output.Table(w, endpointColumns, rows)
}

func (e endpoint) health() string {
	switch e.Health {
	case "", "UNKNOWN", "HEALTHY":
		return "healthy"
	}
	return strings.ToLower(e.Health)
}

func (e endpoint) text(filter, key string) string {
	text, _ := e.Metadata.Filters[filter][key].(string)
	return text
}

// facts are who an endpoint must prove to be, and who runs there; of Istio's only the latter is told.
func (e endpoint) facts() (identity, workload string) {
	if e.Metadata.Filters[wire.EndpointMetadata] != nil {
		return e.text(wire.EndpointMetadata, wire.FactIdentity), e.text(wire.EndpointMetadata, wire.FactWorkload)
	}
	workload, _, _ = strings.Cut(e.text("istio", "workload"), ";")
	return "", workload
}

package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

func parse[T any](answer []byte) (T, error) {
	var v T
	if err := json.Unmarshal(answer, &v); err != nil {
		return v, fmt.Errorf("reading the proxy's answer: %w", err)
	}
	return v, nil
}

// typed is what is read of a filter's configuration.
type typed struct {
	Type    string `json:"@type"`
	Cluster string `json:"cluster"`
	RDS     struct {
		Name string `json:"route_config_name"`
	} `json:"rds"`
	Weighted struct {
		Clusters []weight `json:"clusters"`
	} `json:"weighted_clusters"`
}

type weight struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"`
}

type chain struct {
	Name  string `json:"name"`
	Match struct {
		Port      int      `json:"destination_port"`
		Names     []string `json:"server_names"`
		Transport string   `json:"transport_protocol"`
		ALPN      []string `json:"application_protocols"`
		Prefixes  []struct {
			Address string `json:"address_prefix"`
			Length  int    `json:"prefix_len"`
		} `json:"prefix_ranges"`
	} `json:"filter_chain_match"`
	Filters []struct {
		Config typed `json:"typed_config"`
	} `json:"filters"`
}

type address struct {
	Socket struct {
		Address string `json:"address"`
		Port    int    `json:"port_value"`
	} `json:"socket_address"`
	Pipe struct {
		Path string `json:"path"`
	} `json:"pipe"`
}

func (a address) String() string {
	switch {
	case a.Pipe.Path != "":
		return a.Pipe.Path
	case a.Socket.Address == "":
		return ""
	}
	return net.JoinHostPort(a.Socket.Address, strconv.Itoa(a.Socket.Port))
}

type listener struct {
	Name    string  `json:"name"`
	Address address `json:"address"`
	Chains  []chain `json:"filter_chains"`
	Default *chain  `json:"default_filter_chain"`
}

type listenerState struct {
	Listener listener `json:"listener"`
}

type listenersDump struct {
	Static  []listenerState `json:"static_listeners"`
	Dynamic []struct {
		Name    string         `json:"name"`
		Active  *listenerState `json:"active_state"`
		Warming *listenerState `json:"warming_state"`
		Error   failure        `json:"error_state"`
	} `json:"dynamic_listeners"`
}

func listeners(w io.Writer, dump []byte, match string) error {
	d, err := parse[listenersDump](dump)
	if err != nil {
		return err
	}
	var rows [][]string
	add := func(name, state string, l listener) {
		if strings.Contains(name, match) {
			rows = append(rows, l.rows(name, state)...)
		}
	}
	for _, s := range d.Static {
		add(s.Listener.Name, static, s.Listener)
	}
	for _, l := range d.Dynamic {
		if l.Active != nil {
			add(l.Name, l.Error.state(active), l.Active.Listener)
		}
		if l.Warming != nil {
			add(l.Name, l.Error.state(warming), l.Warming.Listener)
		}
		if l.Active == nil && l.Warming == nil {
			add(l.Name, l.Error.state(""), listener{})
		}
	}
	return output.Table(w, []string{"LISTENER", "ADDRESS", "MATCH", "LEADS TO", "STATE"}, rows)
}

// rows has one per filter chain, the default one last.
func (l listener) rows(name, state string) [][]string {
	address := l.Address.String()
	var rows [][]string
	for _, c := range l.Chains {
		rows = append(rows, []string{name, address, c.matches(), c.leadsTo(), state})
	}
	if c := l.Default; c != nil {
		rows = append(rows, []string{name, address, "everything else", c.leadsTo(), state})
	}
	if rows == nil {
		rows = append(rows, []string{name, address, "", "", state})
	}
	return rows
}

func (c chain) matches() string {
	var parts []string
	if c.Match.Port != 0 {
		parts = append(parts, "port "+strconv.Itoa(c.Match.Port))
	}
	for _, p := range c.Match.Prefixes {
		parts = append(parts, fmt.Sprintf("%s/%d", p.Address, p.Length))
	}
	if len(c.Match.Names) > 0 {
		parts = append(parts, "SNI "+strings.Join(c.Match.Names, ","))
	}
	if c.Match.Transport != "" {
		parts = append(parts, c.Match.Transport)
	}
	if len(c.Match.ALPN) > 0 {
		parts = append(parts, "ALPN "+strings.Join(c.Match.ALPN, ","))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, " ")
}

// leadsTo is what the last filter of a chain that leads anywhere does.
func (c chain) leadsTo() string {
	for n := len(c.Filters) - 1; n >= 0; n-- {
		f := c.Filters[n].Config
		switch {
		case f.RDS.Name != "":
			return "routes " + f.RDS.Name
		case strings.HasSuffix(f.Type, ".HttpConnectionManager"):
			return "routes of its own"
		case f.Cluster != "":
			return "cluster " + f.Cluster
		case len(f.Weighted.Clusters) > 0:
			return split(f.Weighted.Clusters)
		}
	}
	return ""
}

func split(all []weight) string {
	parts := make([]string, 0, len(all))
	for _, c := range all {
		parts = append(parts, fmt.Sprintf("%d %s", c.Weight, c.Name))
	}
	return "split " + strings.Join(parts, ", ")
}

type clusterState struct {
	Cluster struct {
		Name   string `json:"name"`
		Type   string `json:"type"`
		Custom struct {
			Name string `json:"name"`
		} `json:"cluster_type"`
		LB string `json:"lb_policy"`
	} `json:"cluster"`
	Error failure `json:"error_state"`
}

type clustersDump struct {
	Static  []clusterState `json:"static_clusters"`
	Active  []clusterState `json:"dynamic_active_clusters"`
	Warming []clusterState `json:"dynamic_warming_clusters"`
}

func clusters(w io.Writer, dump []byte, match string) error {
	d, err := parse[clustersDump](dump)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, group := range []struct {
		state string
		of    []clusterState
	}{{static, d.Static}, {active, d.Active}, {warming, d.Warming}} {
		for _, c := range group.of {
			if row := c.row(group.state); strings.Contains(cmp.Or(c.Cluster.Name, c.Error.Failed.Name), match) {
				rows = append(rows, row)
			}
		}
	}
	return output.Table(w, []string{"HOST", "PORT", "SUBSET", "DIRECTION", "TYPE", "BALANCER", "STATE"}, rows)
}

func (c clusterState) row(state string) []string {
	host, port, subset, direction := cmp.Or(c.Cluster.Name, c.Error.Failed.Name), "", "", ""
	if parts := strings.Split(host, "|"); len(parts) == 4 {
		direction, port, subset, host = parts[0], parts[1], parts[2], parts[3]
	}
	return []string{host, port, subset, direction, cmp.Or(c.Cluster.Type, c.Cluster.Custom.Name), c.Cluster.LB, c.Error.state(state)}
}

// Level returns the proxy's log level, after setting it where level is not empty.
func Level(ctx context.Context, ask Asker, pod Pod, level string) (string, error) {
	method, path := http.MethodGet, "/logging"
	if level != "" {
		method, path = http.MethodPost, "/logging?level="+level
	}
	answer, err := ask.Ask(ctx, pod.Namespace, pod.Name, wire.PortAdmin, method, path)
	if err != nil {
		return "", err
	}
	got, err := parse[struct {
		Level string `json:"level"`
	}](answer)
	return strings.ToLower(got.Level), err
}

package proxy

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/output"
)

type routeTable struct {
	Name  string `json:"name"`
	Hosts []struct {
		Name    string   `json:"name"`
		Domains []string `json:"domains"`
		Routes  []route  `json:"routes"`
	} `json:"virtual_hosts"`
}

type route struct {
	Name  string `json:"name"`
	Match struct {
		Prefix    *string `json:"prefix"`
		Path      *string `json:"path"`
		Separated *string `json:"path_separated_prefix"`
		Regex     *struct {
			Regex string `json:"regex"`
		} `json:"safe_regex"`
		Headers []struct {
			Name string `json:"name"`
		} `json:"headers"`
		Query []struct {
			Name string `json:"name"`
		} `json:"query_parameters"`
	} `json:"match"`
	Route *struct {
		Cluster  string `json:"cluster"`
		Weighted *struct {
			Clusters []weight `json:"clusters"`
		} `json:"weighted_clusters"`
	} `json:"route"`
	Redirect *struct{} `json:"redirect"`
	Direct   *struct {
		Status int `json:"status"`
	} `json:"direct_response"`
}

type routeState struct {
	Config routeTable `json:"route_config"`
	Error  failure    `json:"error_state"`
}

type routesDump struct {
	Static  []routeState `json:"static_route_configs"`
	Dynamic []routeState `json:"dynamic_route_configs"`
}

func routes(w io.Writer, dump []byte, match string) error {
	d, err := parse[routesDump](dump)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range d.Static {
		rows = append(rows, r.rows(static, match)...)
	}
	for _, r := range d.Dynamic {
		rows = append(rows, r.rows(active, match)...)
	}
	return output.Table(w, []string{"ROUTES", "VIRTUAL HOST", "MATCH", "ACTION", "STATE"}, rows)
}

func (r routeState) rows(state, match string) [][]string {
	name, state := cmp.Or(r.Config.Name, r.Error.Failed.Name), r.Error.state(state)
	var rows [][]string
	if len(r.Config.Hosts) == 0 && strings.Contains(name, match) {
		rows = append(rows, []string{name, "", "", "", state})
	}
	for _, host := range r.Config.Hosts {
		if !strings.Contains(name, match) && !strings.Contains(host.Name, match) {
			continue
		}
		for _, route := range host.Routes {
			rows = append(rows, []string{name, host.Name, route.matches(), route.action(), state})
		}
	}
	return rows
}

func (r route) matches() string {
	var parts []string
	switch m := r.Match; {
	case m.Path != nil:
		parts = append(parts, *m.Path)
	case m.Separated != nil:
		parts = append(parts, *m.Separated+"[/*]")
	case m.Regex != nil:
		parts = append(parts, "~"+m.Regex.Regex)
	case m.Prefix != nil:
		parts = append(parts, *m.Prefix+"*")
	}
	for _, h := range r.Match.Headers {
		parts = append(parts, "header "+h.Name)
	}
	for _, q := range r.Match.Query {
		parts = append(parts, "query "+q.Name)
	}
	return strings.Join(parts, " ")
}

func (r route) action() string {
	switch {
	case r.Redirect != nil:
		return "redirect"
	case r.Direct != nil:
		return fmt.Sprintf("answer %d", r.Direct.Status)
	case r.Route == nil:
		return ""
	case r.Route.Weighted != nil:
		return split(r.Route.Weighted.Clusters)
	}
	return r.Route.Cluster
}

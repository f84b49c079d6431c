package proxy

import (
	"fmt"
	"io"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/output"
)

type routeTable struct {
	Hosts []struct {
		Name    string   `json:"name"`
		Domains []string `json:"domains"`
		Routes  []route  `json:"routes"`
	} `json:"virtualHosts"`
}

type route struct {
	Name  string `json:"name"`
	Match struct {
		Prefix    *string `json:"prefix"`
		Path      *string `json:"path"`
		Separated *string `json:"pathSeparatedPrefix"`
		Regex     *struct {
			Regex string `json:"regex"`
		} `json:"safeRegex"`
		Headers []struct {
			Name string `json:"name"`
		} `json:"headers"`
		Query []struct {
			Name string `json:"name"`
		} `json:"queryParameters"`
	} `json:"match"`
	Route *struct {
		Cluster  string `json:"cluster"`
		Weighted *struct {
			Clusters []weight `json:"clusters"`
		} `json:"weightedClusters"`
	} `json:"route"`
	Redirect *struct{} `json:"redirect"`
	Direct   *struct {
		Status int `json:"status"`
	} `json:"directResponse"`
}

func routes(w io.Writer, answer []byte, match string) error {
	d, err := parse[dump[routeTable]](answer)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range d.Resources {
		if len(r.Body.Hosts) == 0 && strings.Contains(r.Name, match) {
			rows = append(rows, []string{r.Name, "", "", "", state(r.State, r.Error)})
		}
		for _, host := range r.Body.Hosts {
			if !strings.Contains(r.Name, match) && !strings.Contains(host.Name, match) {
				continue
			}
			for _, route := range host.Routes {
				rows = append(rows, []string{r.Name, host.Name, route.matches(), route.action(), state(r.State, r.Error)})
			}
		}
	}
	return output.Table(w, []string{"ROUTES", "VIRTUAL HOST", "MATCH", "ACTION", "STATE"}, rows)
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

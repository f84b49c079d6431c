package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// View is one of the things that a proxy can be asked about.
type View struct {
	Name  string
	path  string
	table func(w io.Writer, answer []byte, match string) error
}

// Views returns all of them.
func Views() []View {
	return []View{
		{"listeners", "/config_dump?type=Listener", listeners},
		{"routes", "/config_dump?type=RouteConfiguration", routes},
		{"clusters", "/config_dump?type=Cluster", clusters},
		{"endpoints", "/clusters", endpoints},
		{"secrets", "/certs", secrets},
		{"names", "/config_dump?type=DnsTable", names},
	}
}

// Read asks the proxy of a pod and returns its answer, JSON. None holds a private key: proxies do not tell them.
func (v View) Read(ctx context.Context, ask Asker, pod Pod) ([]byte, error) {
	return ask.Ask(ctx, pod.Namespace, pod.Name, wire.PortAdmin, http.MethodGet, v.path)
}

// Table writes an answer as a table of the rows whose name contains match.
func (v View) Table(w io.Writer, answer []byte, match string) error { return v.table(w, answer, match) }

// dump is the answer of /config_dump, its bodies of one type.
type dump[T any] struct {
	Resources []struct {
		Name  string `json:"name"`
		State string `json:"state"`
		Error string `json:"error"`
		Body  T      `json:"body"`
	} `json:"resources"`
}

func parse[T any](answer []byte) (T, error) {
	var v T
	if err := json.Unmarshal(answer, &v); err != nil {
		return v, fmt.Errorf("reading the proxy's answer: %w", err)
	}
	return v, nil
}

// state is a resource's state, with the reason where it was refused.
func state(state, why string) string {
	if why == "" {
		return state
	}
	return state + ": " + why
}

// typed is what is read of a filter's configuration.
type typed struct {
	Type    string `json:"@type"`
	Cluster string `json:"cluster"`
	RDS     struct {
		Name string `json:"routeConfigName"`
	} `json:"rds"`
	Weighted struct {
		Clusters []weight `json:"clusters"`
	} `json:"weightedClusters"`
}

type weight struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"`
}

type chain struct {
	Name  string `json:"name"`
	Match struct {
		Port      int      `json:"destinationPort"`
		Names     []string `json:"serverNames"`
		Transport string   `json:"transportProtocol"`
		ALPN      []string `json:"applicationProtocols"`
		Prefixes  []struct {
			Address string `json:"addressPrefix"`
			Length  int    `json:"prefixLen"`
		} `json:"prefixRanges"`
	} `json:"filterChainMatch"`
	Filters []struct {
		Config typed `json:"typedConfig"`
	} `json:"filters"`
}

type listener struct {
	Address struct {
		Socket struct {
			Address string `json:"address"`
			Port    int    `json:"portValue"`
		} `json:"socketAddress"`
	} `json:"address"`
	Chains  []chain `json:"filterChains"`
	Default *chain  `json:"defaultFilterChain"`
}

func listeners(w io.Writer, answer []byte, match string) error {
	d, err := parse[dump[listener]](answer)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range d.Resources {
		if !strings.Contains(r.Name, match) {
			continue
		}
		address := fmt.Sprintf("%s:%d", r.Body.Address.Socket.Address, r.Body.Address.Socket.Port)
		for _, c := range r.Body.Chains {
			rows = append(rows, []string{r.Name, address, c.matches(), c.leadsTo(), state(r.State, r.Error)})
		}
		if c := r.Body.Default; c != nil {
			rows = append(rows, []string{r.Name, address, "everything else", c.leadsTo(), state(r.State, r.Error)})
		}
	}
	return output.Table(w, []string{"LISTENER", "ADDRESS", "MATCH", "LEADS TO", "STATE"}, rows)
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

type cluster struct {
	Type string `json:"type"`
	LB   string `json:"lbPolicy"`
}

func clusters(w io.Writer, answer []byte, match string) error {
	d, err := parse[dump[cluster]](answer)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range d.Resources {
		if !strings.Contains(r.Name, match) {
			continue
		}
		host, port, subset, direction := r.Name, "", "", ""
		if parts := strings.Split(r.Name, "|"); len(parts) == 4 {
			direction, port, subset, host = parts[0], parts[1], parts[2], parts[3]
		}
		rows = append(rows, []string{host, port, subset, direction, r.Body.Type, r.Body.LB, state(r.State, r.Error)})
	}
	return output.Table(w, []string{"HOST", "PORT", "SUBSET", "DIRECTION", "TYPE", "BALANCER", "STATE"}, rows)
}

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

func endpoints(w io.Writer, answer []byte, match string) error {
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
	return output.Table(w, []string{"CLUSTER", "ENDPOINT", "HEALTH", "WEIGHT", "PRIORITY", "ACTIVE", "MTLS", "IDENTITY", "WORKLOAD"}, rows)
}

// certificate says what a certificate is, without its key.
type certificate struct {
	Name       string    `json:"name"`
	Serial     string    `json:"serial"`
	Identities []string  `json:"identities"`
	NotAfter   time.Time `json:"not_after"`
}

func secrets(w io.Writer, answer []byte, match string) error {
	all, err := parse[struct {
		Workload certificate   `json:"workload"`
		Roots    []certificate `json:"roots"`
		Secrets  []certificate `json:"secrets"`
	}](answer)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, group := range []struct {
		kind string
		of   []certificate
	}{{"workload", []certificate{all.Workload}}, {"root", all.Roots}, {"gateway", all.Secrets}} {
		for _, c := range group.of {
			if !strings.Contains(c.Name, match) {
				continue
			}
			until := "not there yet"
			if c.Serial != "" {
				until = c.NotAfter.UTC().Format(time.RFC3339)
			}
			rows = append(rows, []string{c.Name, group.kind, strings.Join(c.Identities, ","), until, c.Serial})
		}
	}
	return output.Table(w, []string{"SECRET", "KIND", "IDENTITIES", "VALID UNTIL", "SERIAL"}, rows)
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

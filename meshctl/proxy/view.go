package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// table writes what an answer says as a table of the rows whose name contains match.
type table func(w io.Writer, answer []byte, match string) error

// View is one of the things that a proxy can be asked about: a part of its config dump, as Envoy's.
type View struct {
	Name  string
	part  string // the last word of the part's type; "": all of them
	path  string // whose answer is the table's where a proxy is asked; "": the dump's
	table table  // of the part
	live  table  // of path
}

// Views returns all of them.
func Views() []View {
	return append(parts(), View{Name: "all"}, View{Name: "names", path: "/config_dump?type=DnsTable", live: names})
}

func parts() []View {
	return []View{
		{Name: "bootstrap", part: "BootstrapConfigDump", table: bootstrap},
		{Name: "clusters", part: "ClustersConfigDump", table: clusters},
		{Name: "endpoints", part: "EndpointsConfigDump", table: endpoints, path: "/clusters", live: liveEndpoints},
		{Name: "listeners", part: "ListenersConfigDump", table: listeners},
		{Name: "routes", part: "RoutesConfigDump", table: routes},
		{Name: "secrets", part: "SecretsConfigDump", table: secrets},
	}
}

// dumped says whether the view is of the config dump.
func (v View) dumped() bool { return v.part != "" || v.Name == "all" }

// Answer is what a proxy, or a file, says to one view.
type Answer struct {
	view    View
	content []byte
	live    bool // it is that of the view's path
}

// Read asks the proxy of a pod; text says that the answer is for a table. None holds a private key: proxies do not tell them.
func (v View) Read(ctx context.Context, ask Asker, pod Pod, text bool) (Answer, error) {
	path, live := "/config_dump?include_eds", !v.dumped() || text && v.path != ""
	if live {
		path = v.path
	}
	content, err := ask.Ask(ctx, pod.Namespace, pod.Name, wire.PortAdmin, http.MethodGet, path)
	if err != nil {
		return Answer{}, err
	}
	return v.of(content, live)
}

// ReadFile takes a config dump that a proxy gave before, Heddle's or Envoy's.
func (v View) ReadFile(content []byte) (Answer, error) {
	if !v.dumped() {
		return Answer{}, fmt.Errorf("config dumps have no %s: ask a proxy", v.Name)
	}
	return v.of(content, false)
}

// Generator is the configuration of a proxy as it would be told, in the forms of a proxy's answers.
type Generator interface {
	Dump() ([]byte, error)  // the config dump, without what objects do not decide
	Names() ([]byte, error) // the names that it would answer with
}

// ReadGenerated takes what is generated for a proxy.
func (v View) ReadGenerated(g Generator) (Answer, error) {
	switch v.Name {
	case "names":
		content, err := g.Names()
		return Answer{v, content, true}, err
	case "bootstrap", "secrets":
		return Answer{}, fmt.Errorf("objects do not say what %s a proxy has: ask a proxy that runs", v.Name)
	}
	dump, err := g.Dump()
	if err != nil {
		return Answer{}, err
	}
	return v.of(dump, false)
}

func (v View) of(content []byte, live bool) (Answer, error) {
	if live {
		return Answer{v, content, true}, nil
	}
	part, err := v.cut(content)
	return Answer{v, part, false}, err
}

// cut leaves of a config dump the view's part.
func (v View) cut(content []byte) ([]byte, error) {
	d, err := parse[struct {
		Configs []json.RawMessage `json:"configs"`
	}](content)
	if err != nil {
		return nil, err
	}
	if len(d.Configs) == 0 {
		return nil, errors.New("it is no config dump of Envoy's form: it has no configs")
	}
	if v.part != "" {
		if d.Configs = slices.DeleteFunc(d.Configs, func(c json.RawMessage) bool { return !v.is(c) }); len(d.Configs) == 0 {
			return nil, fmt.Errorf("the config dump has no %s%s", v.part, map[bool]string{true: ": it is taken with ?include_eds"}[v.Name == "endpoints"])
		}
	}
	var out bytes.Buffer
	out.WriteString(`{"configs":[`)
	for n, config := range d.Configs {
		if n > 0 {
			out.WriteByte(',')
		}
		out.Write(config)
	}
	out.WriteString("]}")
	return out.Bytes(), nil
}

// is says whether a part of a dump is the view's.
func (v View) is(config json.RawMessage) bool {
	typed, err := parse[typed](config)
	return err == nil && strings.HasSuffix(typed.Type, "."+v.part)
}

// Value is the answer for programs, as it came.
func (a Answer) Value() json.RawMessage { return a.content }

// Table writes the answer as a table of the rows whose name contains match; of everything, one table per part.
func (a Answer) Table(w io.Writer, match string) error {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(a.content))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("reading the proxy's answer: %w", err)
	}
	content, err := json.Marshal(snake(value))
	if err != nil {
		return fmt.Errorf("reading the proxy's answer: %w", err)
	}
	if a.live {
		return a.view.live(w, content, match)
	}
	d, err := parse[struct {
		Configs []json.RawMessage `json:"configs"`
	}](content)
	if err != nil {
		return err
	}
	written := false
	for _, v := range parts() {
		for _, config := range d.Configs {
			if !v.is(config) {
				continue
			}
			if written {
				fmt.Fprintln(w)
			}
			written = true
			if err := v.table(w, config, match); err != nil {
				return err
			}
		}
	}
	return nil
}

// snake gives fields the names that messages have, as Envoy writes them: others write them as JSON has them.
func snake(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, of := range v {
			out[snakeName(key)] = snake(of)
		}
		return out
	case []any:
		for n := range v {
			v[n] = snake(v[n])
		}
	}
	return value
}

func snakeName(name string) string {
	if name == "" || !unicode.IsLower(rune(name[0])) {
		return name
	}
	var out strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// States of a resource in a table.
const (
	active  = "active"
	warming = "warming" // it waits for what it needs
	static  = "static"  // it came with the bootstrap
	refused = "refused"
)

// failure is why the last version was refused, and what it was.
type failure struct {
	Details string `json:"details"`
	Failed  struct {
		Name string `json:"name"`
	} `json:"failed_configuration"`
}

// state is where a resource stands that would otherwise be in state, with the reason where it was refused.
func (f failure) state(state string) string {
	if f.Details == "" {
		return state
	}
	return refused + ": " + f.Details
}

type bootstrapDump struct {
	Bootstrap struct {
		Node struct {
			ID       string         `json:"id"`
			Cluster  string         `json:"cluster"`
			Metadata map[string]any `json:"metadata"`
		} `json:"node"`
	} `json:"bootstrap"`
}

// bootstrap is who the proxy says that it is.
func bootstrap(w io.Writer, dump []byte, match string) error {
	d, err := parse[bootstrapDump](dump)
	if err != nil {
		return err
	}
	node := d.Bootstrap.Node
	rows := [][]string{{"id", node.ID}, {"cluster", node.Cluster}}
	for _, key := range slices.Sorted(maps.Keys(node.Metadata)) {
		text, ok := node.Metadata[key].(string)
		if !ok {
			written, _ := json.Marshal(node.Metadata[key]) // it was read from JSON
			text = string(written)
		}
		rows = append(rows, []string{key, text})
	}
	rows = slices.DeleteFunc(rows, func(row []string) bool { return !strings.Contains(row[0], match) })
	return output.Table(w, []string{"NODE", "VALUE"}, rows)
}

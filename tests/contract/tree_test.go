package contract

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// documents reads YAML as trees.
func documents(text []byte) ([]map[string]any, error) {
	var out []map[string]any
	reader := yamlreader.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var tree map[string]any
		if err := yaml.Unmarshal(doc, &tree); err != nil {
			return nil, err
		}
		if tree != nil {
			out = append(out, tree)
		}
	}
}

// written is trees as YAML again: JSON, one document a line.
func written(t testing.TB, docs []map[string]any) []byte {
	var out bytes.Buffer
	for i, doc := range docs {
		if i > 0 {
			out.WriteString("---\n")
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
	return out.Bytes()
}

// steps splits a path of the report: "spec.http[0].match[0].headers[x.y].exact".
func steps(path string) []string {
	var out []string
	for path != "" {
		if path[0] == '[' {
			step, rest, _ := strings.Cut(path[1:], "]")
			out, path = append(out, step), strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(out, path)
		}
		out = append(out, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return out
}

// mend gives what is at a path a sound value; where that was tried, or none is known, it is removed.
func (d *drawing) mend(tree map[string]any, path string) bool {
	if path == "spec" && tree["kind"] == "VirtualService" {
		path = "spec.http"
	}
	way := steps(path)
	if len(way) == 0 {
		return false
	}
	var better any
	at := fmt.Sprint(tree["kind"], tree["metadata"], path)
	tried := d.mended[at]
	d.mended[at] = true
	if text, ok := sound[way[len(way)-1]]; ok && !tried && json.Unmarshal([]byte(text), &better) == nil && put(tree, way, better) {
		return true
	}
	return remove(tree, path)
}

// put sets a field of an object that is there, and reports whether that changed anything.
func put(tree any, way []string, value any) bool {
	switch v := tree.(type) {
	case map[string]any:
		if len(way) > 1 {
			return put(v[way[0]], way[1:], value)
		}
		if reflect.DeepEqual(v[way[0]], value) {
			return false
		}
		v[way[0]] = value
		return true
	case []any:
		if i, err := strconv.Atoi(way[0]); err == nil && len(way) > 1 && i < len(v) {
			return put(v[i], way[1:], value)
		}
	}
	return false
}

// remove takes what is at a path out of a tree. Of what is not there, that which should have it goes; never the whole object.
func remove(tree any, path string) bool {
	way := steps(path)
	if len(way) < 2 {
		return false
	}
	for len(way) > 1 {
		if removed, _ := removeAt(tree, way); removed {
			return true
		}
		way = way[:len(way)-1]
	}
	return false
}

// removeAt returns whether it removed anything, and what the value is now.
func removeAt(v any, way []string) (bool, any) {
	switch v := v.(type) {
	case map[string]any:
		below, there := v[way[0]]
		switch {
		case !there:
			return false, v
		case len(way) == 1:
			delete(v, way[0])
			return true, v
		}
		removed, now := removeAt(below, way[1:])
		v[way[0]] = now
		return removed, v
	case []any:
		i, err := strconv.Atoi(way[0])
		switch {
		case err != nil || i < 0 || i >= len(v):
			return false, v
		case len(way) == 1:
			return true, slices.Delete(v, i, i+1)
		}
		removed, now := removeAt(v[i], way[1:])
		v[i] = now
		return removed, v
	}
	return false, v
}

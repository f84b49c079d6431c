package describe

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/meshctl/replica"
)

// TestGolden describes pods and services of a mesh of files (in.yaml). Each line of asks is "pod NAME" or "service NAME"; the namespace is shop.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		in, err := replica.FromFiles([]replica.Text{{Name: c.Name, Content: []byte(c.Files["in.yaml"])}}, "shop")
		if err != nil {
			t.Fatal(err)
		}
		m, err := replica.New(in)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for line := range strings.Lines(c.Files["asks"]) {
			if err := ask(m, strings.Fields(line), &out); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			fmt.Fprintln(&out)
		}
		return map[string]string{"text": out.String()}
	})
}

func ask(m *replica.Mesh, words []string, out *strings.Builder) error {
	if words[0] == "service" {
		svc, err := FindService(m, words[1], "shop")
		if err != nil {
			return err
		}
		r := Service(m, svc)
		if _, err := json.Marshal(r); err != nil {
			return err
		}
		return r.Text(out)
	}
	p, err := m.Find(words[1], "shop")
	if err != nil {
		return err
	}
	r := Pod(m, p)
	if _, err := json.Marshal(r); err != nil {
		return err
	}
	return r.Text(out)
}

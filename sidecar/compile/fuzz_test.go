package compile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"

	"github.com/heddle-mesh/heddle/api/wire"
)

// FuzzApply feeds arbitrary bytes as resources: they are taken or refused, and nothing panics.
func FuzzApply(f *testing.F) {
	types := []string{wire.TypeCluster, wire.TypeEndpoints, wire.TypeListener, wire.TypeRoute, wire.TypeSecret, wire.TypeNames}
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			if strings.HasPrefix(file.Name, "want/") || file.Name == "options" {
				continue
			}
			changed, _ := resources(&testing.T{}, string(file.Data))
			for _, r := range changed {
				for i, typ := range types {
					if typ == r.Type {
						f.Add(uint8(i), r.Name, r.Body)
					}
				}
			}
		}
	}
	table, err := proto.Marshal(dnsTable("a.b", "10.0.0.1", "fd00::1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(5), "a.b", table)
	f.Fuzz(func(t *testing.T, typ uint8, name string, body []byte) {
		c := newCompiler()
		r := wire.Resource{Type: types[int(typ)%len(types)], Name: name, Version: "1", Body: body}
		if refused := c.Apply(r.Type, []wire.Resource{r}, nil); errors.Is(refused[name], ErrPanic) {
			t.Fatal(refused[name])
		}
		c.Config()
		if _, err := c.Dump(""); err != nil {
			t.Fatal(err)
		}
	})
}

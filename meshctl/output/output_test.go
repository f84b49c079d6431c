package output_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/heddle-mesh/heddle/meshctl/output"
)

func TestPrint(t *testing.T) {
	value := []struct {
		Name string `json:"name"`
	}{{"a<b"}}
	for format, want := range map[string]string{
		"text": "NAME   MODE\na<b    -\n",
		"json": "[\n  {\n    \"name\": \"a<b\"\n  }\n]\n",
		"YAML": "- name: a<b\n",
	} {
		var f output.Format
		if err := f.Set(format); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := output.Print(&out, f, value, func(w io.Writer) error {
			return output.Table(w, []string{"NAME", "MODE"}, [][]string{{"a<b", ""}})
		})
		if err != nil || out.String() != want {
			t.Errorf("%s: got %q, want %q (%v)", format, out.String(), want, err)
		}
	}
	var f output.Format
	if f.Set("xml") == nil {
		t.Error("xml was taken")
	}
}

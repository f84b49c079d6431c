package explain

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-mesh/heddle/internal/golden"
	"github.com/heddle-mesh/heddle/meshctl/replica"
)

// TestGolden explains requests in a mesh of files (in.yaml). Each line of asks is CLIENT METHOD URL, and headers as name:value; the namespace is
// shop.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c golden.Case) map[string]string {
		in, err := replica.FromFiles([]replica.Text{{Name: c.Name, Content: []byte(c.Files["in.yaml"])}}, "shop", replica.Defaults())
		if err != nil {
			t.Fatal(err)
		}
		m, err := replica.New(in)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for line := range strings.Lines(c.Files["asks"]) {
			words := strings.Fields(line)
			client, err := m.Find(words[0], "shop")
			if err != nil {
				t.Fatal(err)
			}
			r, err := ParseRequest(words[1], words[2], words[3:], false)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Explain(m, client, r)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "# %s", line)
			if err := e.Text(&out); err != nil {
				t.Fatal(err)
			}
			if _, err := json.Marshal(e); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			fmt.Fprintln(&out)
		}
		return map[string]string{"text": out.String()}
	})
}

func TestRequestsThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"GET ftp://a/":          "none of http",
		"GET http://":           "no URL",
		"GET http://a:0/":       `"0" is no port`,
		"GET http://a:99999/":   `"99999" is no port`,
		"TCP tcp://a":           "a port is needed",
		"TCP http://a:80":       "do not go together",
		"GET tcp://a:80":        "do not go together",
		"GET http://a/ nothing": "want name:value",
	} {
		words := strings.Fields(text)
		_, err := ParseRequest(words[0], words[1], words[2:], false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", text, err, want)
		}
	}
}

func TestRequestsAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"get catalog/x":            "catalog:80 catalog /x http=true tls=false sni=",
		"GET http://Catalog:8080":  "catalog:8080 Catalog:8080 / http=true tls=false sni=",
		"GET https://a.b/x?y=1":    "a.b:443 a.b /x?y=1 http=true tls=true sni=a.b",
		"TCP db:5432":              "db:5432 db:5432 / http=false tls=false sni=",
		"CONNECT tcp://db:5432":    "db:5432 db:5432 / http=false tls=false sni=",
		"TLS a.b:443":              "a.b:443 a.b:443 / http=false tls=true sni=a.b",
		"GET http://a/ host:other": "a:80 other / http=true tls=false sni=",
	} {
		words := strings.Fields(text)
		r, err := ParseRequest(words[0], words[1], words[2:], false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := fmt.Sprintf("%s:%d %s %s http=%t tls=%t sni=%s", r.Host, r.Port, r.authority, r.path, r.http, r.tls, r.sni); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

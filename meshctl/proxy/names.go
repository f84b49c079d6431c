package proxy

import (
	"io"
	"strings"

	"github.com/heddle-mesh/heddle/meshctl/output"
)

// nameTable is the names of one host, as a proxy answers DNS questions with them.
type nameTable struct {
	Domains []struct {
		Name     string `json:"name"`
		TTL      string `json:"answerTtl"`
		Endpoint struct {
			List struct {
				Addresses []string `json:"address"`
			} `json:"addressList"`
		} `json:"endpoint"`
	} `json:"virtualDomains"`
}

func names(w io.Writer, answer []byte, match string) error {
	d, err := parse[dump[nameTable]](answer)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range d.Resources {
		for _, domain := range r.Body.Domains {
			if strings.Contains(domain.Name, match) {
				rows = append(rows, []string{domain.Name, strings.Join(domain.Endpoint.List.Addresses, " "), domain.TTL, state(r.State, r.Error)})
			}
		}
	}
	return output.Table(w, []string{"NAME", "ADDRESSES", "TTL", "STATE"}, rows)
}

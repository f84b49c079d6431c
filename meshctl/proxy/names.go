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
		TTL      string `json:"answer_ttl"`
		Endpoint struct {
			List struct {
				Addresses []string `json:"address"`
			} `json:"address_list"`
		} `json:"endpoint"`
	} `json:"virtual_domains"`
}

// held is what a proxy of ours answers of a type that Envoy's dump does not have.
type held[T any] struct {
	Resources []struct {
		State string `json:"state"`
		Error string `json:"error"`
		Body  T      `json:"body"`
	} `json:"resources"`
}

func names(w io.Writer, answer []byte, match string) error {
	d, err := parse[held[nameTable]](answer)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range d.Resources {
		for _, domain := range r.Body.Domains {
			if strings.Contains(domain.Name, match) {
				rows = append(rows, []string{domain.Name, strings.Join(domain.Endpoint.List.Addresses, " "), domain.TTL, failure{Details: r.Error}.state(r.State)})
			}
		}
	}
	return output.Table(w, []string{"NAME", "ADDRESSES", "TTL", "STATE"}, rows)
}

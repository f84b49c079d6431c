package proxy

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"strings"
	"time"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/meshctl/output"
)

// source is where a message has its content.
type source struct {
	Bytes []byte `json:"inline_bytes"`
	Text  string `json:"inline_string"`
}

// certificates are those of a source that can be read.
func (s source) certificates() []*x509.Certificate {
	var out []*x509.Certificate
	for block, rest := pem.Decode(append(s.Bytes, s.Text...)); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, cert)
		}
	}
	return out
}

type secretState struct {
	Name   string `json:"name"`
	Secret struct {
		Certificate struct {
			Chain source `json:"certificate_chain"`
		} `json:"tls_certificate"`
		Validation struct {
			CA source `json:"trusted_ca"`
		} `json:"validation_context"`
	} `json:"secret"`
	Error failure `json:"error_state"`
}

type secretsDump struct {
	Static  []secretState `json:"static_secrets"`
	Active  []secretState `json:"dynamic_active_secrets"`
	Warming []secretState `json:"dynamic_warming_secrets"`
}

func secrets(w io.Writer, dump []byte, match string) error {
	d, err := parse[secretsDump](dump)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, group := range []struct {
		state string
		of    []secretState
	}{{static, d.Static}, {active, d.Active}, {warming, d.Warming}} {
		for _, s := range group.of {
			if strings.Contains(s.Name, match) {
				rows = append(rows, s.rows(s.Error.state(group.state))...)
			}
		}
	}
	return output.Table(w, []string{"SECRET", "KIND", "IDENTITIES", "VALID UNTIL", "SERIAL", "STATE"}, rows)
}

// rows has the certificate that is proved, or each of a CA bundle.
func (s secretState) rows(state string) [][]string {
	kind := "gateway"
	switch s.Name {
	case wire.SecretWorkload:
		kind = "workload"
	case wire.SecretRoot:
		kind = "root"
	}
	all := s.Secret.Validation.CA.certificates()
	if chain := s.Secret.Certificate.Chain.certificates(); len(chain) > 0 {
		all = chain[:1]
	}
	if len(all) == 0 {
		return [][]string{{s.Name, kind, "", "not there yet", "", state}}
	}
	var rows [][]string
	for _, cert := range all {
		identities := append([]string{}, cert.DNSNames...)
		for _, uri := range cert.URIs {
			identities = append(identities, uri.String())
		}
		rows = append(rows, []string{s.Name, kind, strings.Join(identities, ","), cert.NotAfter.UTC().Format(time.RFC3339), cert.SerialNumber.Text(16), state})
	}
	return rows
}

package mesh

import (
	"fmt"

	meshapi "istio.io/api/mesh/v1alpha1"

	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/values"
)

// tlsVersion reads the least version of TLS; "" where nothing is said.
func tlsVersion(log *report.Log, path string, c *meshapi.MeshConfig_TLSConfig) string {
	switch v := c.GetMinProtocolVersion(); v {
	case meshapi.MeshConfig_TLSConfig_TLS_AUTO:
		return ""
	case meshapi.MeshConfig_TLSConfig_TLSV1_2:
		return "1.2"
	case meshapi.MeshConfig_TLSConfig_TLSV1_3:
		return "1.3"
	default:
		log.Partialf(path+".minProtocolVersion", "%d: unknown; TLSV1_3 is in force", v)
		return "1.3"
	}
}

// tlsParameters reads what TLS may agree on. Suites and curves that this version does not have are left out.
func tlsParameters(log *report.Log, path string, c *meshapi.MeshConfig_TLSConfig) model.TLSParameters {
	out := model.TLSParameters{MinVersion: tlsVersion(log, path, c)}
	keep := func(field string, names []string, known func(string) bool) (kept []string) {
		for i, name := range names {
			if !known(name) {
				log.Partialf(fmt.Sprintf("%s.%s[%d]", path, field, i), "%q: not implemented by this version", name)
				continue
			}
			kept = append(kept, name)
		}
		return kept
	}
	out.Ciphers = keep("cipherSuites", c.GetCipherSuites(), values.CipherSuite)
	out.Curves = keep("ecdhCurves", c.GetEcdhCurves(), values.Curve)
	return out
}

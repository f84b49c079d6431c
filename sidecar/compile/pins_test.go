package compile

import (
	"strings"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

func TestPins(t *testing.T) {
	const spki, hash = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	colons := "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"
	out, err := pins(&tlsv3.CertificateValidationContext{VerifyCertificateSpki: []string{spki}, VerifyCertificateHash: []string{hash, colons}})
	if err != nil || len(out.Keys) != 1 || len(out.Certificates) != 2 || out.Keys[0] != out.Certificates[0] || out.Certificates[0] != out.Certificates[1] {
		t.Errorf("got %v (%v)", out, err)
	}
	for field, in := range map[string]*tlsv3.CertificateValidationContext{
		"verify_certificate_spki[0]": {VerifyCertificateSpki: []string{hash}},
		"verify_certificate_hash[1]": {VerifyCertificateHash: []string{hash, hash[2:]}},
	} {
		if _, err := pins(in); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

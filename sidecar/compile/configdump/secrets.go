package configdump

import (
	"maps"
	"slices"

	admin "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/compile"
)

// redacted stands where Envoy has a key.
const redacted = "[redacted]"

// secrets tells of the workload's own certificate and roots, which come from the CA, and of those of the control plane.
func (p Proxy) secrets() *admin.SecretsConfigDump {
	out := &admin.SecretsConfigDump{}
	sent := map[string]bool{}
	p.each(wire.TypeSecret, func(d compile.Dumped) { sent[d.Name] = true })
	for _, name := range slices.Sorted(maps.Keys(p.Contents)) {
		if !sent[name] {
			out.DynamicActiveSecrets = append(out.DynamicActiveSecrets, &admin.SecretsConfigDump_DynamicSecret{Name: name, Secret: p.Contents[name].message(name)})
		}
	}
	p.each(wire.TypeSecret, func(d compile.Dumped) {
		s := &admin.SecretsConfigDump_DynamicSecret{Name: d.Name, ErrorState: failure(d)}
		if d.Last == nil {
			s.VersionInfo, s.Secret = "uninitialized", Content{}.message(d.Name) // as Envoy says it
			out.DynamicWarmingSecrets = append(out.DynamicWarmingSecrets, s)
			return
		}
		s.VersionInfo, s.LastUpdated, s.Secret = d.Last.Name, stamp(d.Last.At), p.Contents[d.Name].message(d.Name)
		out.DynamicActiveSecrets = append(out.DynamicActiveSecrets, s)
	})
	return out
}

func (c Content) message(name string) *anypb.Any {
	inline := func(data []byte) *core.DataSource {
		return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: data}}
	}
	m := &tls.Secret{Name: name}
	switch {
	case c.Chain != nil:
		m.Type = &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{CertificateChain: inline(c.Chain), PrivateKey: inline([]byte(redacted))}}
	case c.CA != nil:
		m.Type = &tls.Secret_ValidationContext{ValidationContext: &tls.CertificateValidationContext{TrustedCa: inline(c.CA)}}
	}
	return pack(m)
}

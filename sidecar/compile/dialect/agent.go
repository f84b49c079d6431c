package dialect

import (
	"strings"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heddle-mesh/heddle/api/wire"
)

// agentCluster is how Istio's control plane calls the agent that stands beside each of its proxies, has the workload's certificate, and reads files.
const agentCluster = "sds-grpc"

// Files is a secret that is made of files in the proxy's container.
type Files struct {
	Chain, Key string // a certificate's; empty: it is a CA bundle
	Roots      string // a CA bundle; empty, without Chain: the system's
}

// Agent reads which files a secret is made of that Istio's agent would serve: file-cert:CHAIN~KEY, file-root:BUNDLE, file-root:system. Not ok: it is made of
// none, or not the agent's.
func Agent(s *tlsv3.SdsSecretConfig) (files Files, ok bool) {
	if !asksAgent(s) {
		return files, false
	}
	if names, is := strings.CutPrefix(s.GetName(), "file-cert:"); is {
		files.Chain, files.Key, ok = strings.Cut(names, "~")
		return files, ok && files.Chain != "" && files.Key != "" && !strings.Contains(files.Key, "~")
	}
	bundle, is := strings.CutPrefix(s.GetName(), "file-root:")
	if !is || bundle == "" || strings.Contains(bundle, "~") {
		return files, false
	}
	if bundle != "system" {
		files.Roots = bundle
	}
	return files, true
}

func asksAgent(s *tlsv3.SdsSecretConfig) bool {
	services := s.GetSdsConfig().GetApiConfigSource().GetGrpcServices()
	return len(services) == 1 && services[0].GetEnvoyGrpc().GetClusterName() == agentCluster
}

// fromAgent says whether m is a secret of the agent's that a proxy without one has all the same: its own certificate, the mesh's roots, or files.
func fromAgent(m protoreflect.Message) bool {
	s, ok := m.Interface().(*tlsv3.SdsSecretConfig)
	if !ok || !asksAgent(s) {
		return false
	}
	if s.GetName() == wire.SecretWorkload || s.GetName() == wire.SecretRoot {
		return true
	}
	_, ok = Agent(s)
	return ok
}

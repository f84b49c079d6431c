package compile

import (
	"cmp"
	"strings"

	tcpproxy "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/heddle-mesh/heddle/sidecar/compile/values"
	"github.com/heddle-mesh/heddle/sidecar/config"
)

// tunnel reads where a chain's upstream, a proxy, is to lead.
func tunnel(in *tcpproxy.TcpProxy_TunnelingConfig) (*config.Tunnel, error) {
	if in == nil {
		return nil, nil
	}
	out := &config.Tunnel{Authority: in.GetHostname()}
	switch name := in.GetHostname(); {
	case name == "":
		return nil, values.Wrong("tunneling_config.hostname", "it is empty")
	case strings.ContainsRune(name, '%'):
		return nil, values.Wrong("tunneling_config.hostname", "%q: command operators are not implemented", name)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return nil, values.Wrong("tunneling_config.hostname", "%q is not host:port", name)
	}
	switch path := in.GetPostPath(); {
	case in.GetUsePost() && !strings.HasPrefix(cmp.Or(path, "/"), "/"):
		return nil, values.Wrong("tunneling_config.post_path", "%q is no path", path)
	case in.GetUsePost():
		out.Post = cmp.Or(path, "/")
	case path != "":
		return nil, values.Wrong("tunneling_config.post_path", "it needs use_post")
	}
	return out, nil
}

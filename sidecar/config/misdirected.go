package config

import (
	"bytes"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Misdirected says whether a host that chain does not know is one that its listener would give to another chain, were it named in a
// handshake: the client has used a connection for it that was made for somebody else (RFC 9110, 15.5.20).
func (l *Listener) Misdirected(chain *FilterChain, c *exchange.Connection, host []byte) bool {
	if !l.Via.Gateway || c.Security == nil {
		return false
	}
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	asked := *c
	asked.SNI = string(host)
	other := l.Choose(&asked)
	return other != nil && other != chain
}

package http2

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// An exchange knows upgrades as HTTP/1.1 has them: GET, an upgrade field, 101. HTTP/2 has extended CONNECT instead
// (RFC 8441), without a key and its echo. This file translates, on both sides.

const websocket = "websocket"

// asUpgrade makes an extended CONNECT the upgrade request that it stands for.
func asUpgrade(x *exchange.Exchange, protocol exchange.View) {
	h := &x.Request
	h.Method = h.Intern("GET")
	x.Upgrade = h.InternBytes(protocol)
	h.Set("upgrade", string(protocol))
	h.Set("connection", "upgrade") // for routes and policies to judge
	if protocol.Is(websocket) {
		var key [16]byte // a nonce against confused servers, no secret
		binary.NativeEndian.PutUint64(key[:], rand.Uint64())
		binary.NativeEndian.PutUint64(key[8:], rand.Uint64())
		h.Set("sec-websocket-key", base64.StdEncoding.EncodeToString(key[:]))
	}
}

// asConnected makes the answer to an upgrade the one to an extended CONNECT.
func asConnected(h *exchange.Head) *exchange.Head {
	var out exchange.Head
	out.CopyFrom(h)
	out.Status = 200
	out.Remove("sec-websocket-accept")
	return &out
}

// tunnel is an upgrade under way on a client's stream.
type tunnel struct {
	protocol string // empty: none, or plain CONNECT
	key      string
}

func tunnelOf(h *exchange.Head) (t tunnel, ok bool) {
	if h.Method.Is("CONNECT") {
		return tunnel{}, true
	}
	v := h.Get("upgrade")
	if v == nil {
		return tunnel{}, false
	}
	return tunnel{protocol: v.Copy(), key: h.Get("sec-websocket-key").Copy()}, true
}

// asSwitched makes the answer to an extended CONNECT the one that the upgrade request waits for.
func (t *tunnel) asSwitched(h *exchange.Head) {
	if t.protocol == "" || h.Status/100 != 2 {
		return
	}
	h.Status = 101
	h.Set("upgrade", t.protocol)
	if t.protocol == websocket {
		sum := sha1.Sum([]byte(t.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455, 4.2.2
		h.Set("sec-websocket-accept", base64.StdEncoding.EncodeToString(sum[:]))
	}
}

// settled waits until the peer has said whether it takes extended CONNECTs. The lock is held.
func (st *stream) settled() error {
	for !st.c.heard {
		if err := st.writable(); err != nil {
			return err
		}
		st.block()
	}
	if !st.c.peerConnect {
		return exchange.ErrUnfit
	}
	return nil
}

// connectable is the setting that allows extended CONNECT.
func connectable() http2.Setting {
	return http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}
}

package http1

import (
	"math"
	"net"
	"strconv"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// Refuse implements listener.Refuser: an answer that nobody asked for yet, and a moment for it to arrive.
func (s *Server) Refuse(conn net.Conn, o exchange.Outcome) {
	p := append([]byte("HTTP/1.1 "), strconv.Itoa(o.Status())...)
	p = append(append(append(p, ' '), reason(o.Status())...), "\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"...)
	_ = conn.SetDeadline(time.Now().Add(briefly))
	if _, err := conn.Write(p); err != nil {
		return
	}
	discard(conn, briefly, math.MaxInt64)
}

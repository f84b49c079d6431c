package http2_test

import (
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// TestClientReset: a stream that the client resets is told from a connection that ends.
func TestClientReset(t *testing.T) {
	const reset, gone = "http2.remote_reset", "downstream_remote_disconnect"
	for name, c := range map[string]struct {
		part   bool // of the request alone is sent
		begun  bool // the response
		closes bool // the client, instead
		code   http2.ErrCode
		want   entry
	}{
		"canceled":                {code: http2.ErrCodeCancel, want: entry{outcome: exchange.ClientReset, flags: "DR", text: reset}},
		"without an error":        {code: http2.ErrCodeNo, want: entry{outcome: exchange.ClientReset, flags: "DR", text: reset}},
		"within the request":      {part: true, code: http2.ErrCodeCancel, want: entry{outcome: exchange.ClientReset, flags: "DR", text: reset}},
		"within the response":     {begun: true, code: http2.ErrCodeCancel, want: entry{outcome: exchange.ClientReset, flags: "DR", text: reset}},
		"within both":             {part: true, begun: true, code: http2.ErrCodeNo, want: entry{outcome: exchange.ClientReset, flags: "DR", text: reset}},
		"the connection ends":     {closes: true, want: entry{outcome: exchange.ClientGone, flags: "DC", text: gone}},
		"it ends in the response": {closes: true, begun: true, want: entry{outcome: exchange.ClientGone, flags: "DC", text: gone}},
	} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{})
			m := build(t, origin(t, true, func(w http.ResponseWriter, r *http.Request) {
				if c.begun {
					_, _ = io.WriteString(w, "beginning")
					_ = http.NewResponseController(w).Flush()
				}
				close(reached)
				<-r.Context().Done()
			}), options{h2Down: true, h2Up: true})
			nc, err := net.Dial("tcp", m.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_, _ = io.WriteString(nc, http2.ClientPreface)
			fr := http2.NewFramer(nc, nc)
			_ = fr.WriteSettings()
			head(fr, 1, !c.part, ":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a")
			<-reached
			for begun := !c.begun; !begun; {
				f, err := fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				_, begun = f.(*http2.DataFrame)
			}
			if c.closes {
				nc.Close()
			} else {
				_ = fr.WriteRSTStream(1, c.code)
			}
			if e := m.log.wait(t, 1); e.outcome != c.want.outcome || e.flags != c.want.flags || e.text != c.want.text {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}

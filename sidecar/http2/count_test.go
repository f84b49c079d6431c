package http2_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// A body that is not what its head promised is told once: by the request's end, or, where that tells something else, by the codec.
func TestABrokenBodyIsToldOnce(t *testing.T) {
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	go func() { // takes everything and answers nothing
		for {
			nc, err := up.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, nc)
		}
	}()
	const rounds = 20
	var m *mesh
	t.Cleanup(func() { // after the mesh's own: nothing serves any more
		told := len(m.log.bad)
		for _, e := range m.log.ended {
			if e.outcome != exchange.BadRequest {
				continue
			}
			if told++; e.text != "http2.violation.of.messaging.rule" {
				t.Errorf("the log says %s", e.text)
			}
		}
		if told != rounds {
			t.Errorf("%d requests told %d times: %+v and %q", rounds, told, m.log.ended, m.log.bad)
		}
	})
	m = build(t, up.Addr().String(), options{h2Down: true})
	nc, err := net.Dial("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	go io.Copy(io.Discard, nc)
	_, _ = io.WriteString(nc, xhttp2.ClientPreface)
	fr := xhttp2.NewFramer(nc, nil)
	_ = fr.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := range rounds {
		block.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}, {"content-length", "3"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		id := uint32(2*i + 1)
		_ = fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true})
		if i%2 == 1 {
			time.Sleep(2 * time.Millisecond) // its handler has begun, most often
		}
		_ = fr.WriteData(id, true, []byte("12345"))
		m.log.wait(t, i+1)
	}
}

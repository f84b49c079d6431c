package http2

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/spec"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// clientObsolete are the cases of h2spec for clients that RFC 9113 has made wrong, and why.
var clientObsolete = map[string]string{
	"client/5.1/8": may,
	"client/5.1/9": may,
}

const may = "frames on a stream that the server has ended may be a connection's error, and need not be (RFC 9113, 5.1): the other exchanges on the connection go on"

// TestClientConforms runs h2spec's cases for clients against an upstream connection: its server sees a request and breaks the rules.
func TestClientConforms(t *testing.T) {
	cases := 0
	var walk func(*spec.ClientTestGroup)
	walk = func(g *spec.ClientTestGroup) {
		for i, tc := range g.Tests {
			cases++
			id := fmt.Sprintf("%s/%d", g.ID(), i+1)
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				clientConforms(t, id, tc)
			})
		}
		for _, sub := range g.Groups {
			walk(sub)
		}
	}
	walk(client.Spec())
	if cases < 30 {
		t.Errorf("h2spec has only %d cases for clients", cases)
	}
}

func clientConforms(t *testing.T, id string, tc *spec.ClientTestCase) {
	why, old := clientObsolete[id]
	c := &config.Config{Host: "127.0.0.1", Timeout: 30 * time.Second, MaxHeaderLen: 4000}
	if old {
		c.Timeout = time.Second
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	judged := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			judged <- err
			return
		}
		conn, err := spec.Accept(c, raw)
		if err == nil {
			err = tc.Run(c, conn)
		}
		raw.Close()
		judged <- err
	}()
	tr, err := to(t, l.Addr().String())()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := tr.Open(); err == nil {
		ask(s)
	}
	err = <-judged
	switch {
	case old && err == nil:
		t.Errorf("%s: it passes, though it is on the list: %s", tc.Desc, why)
	case old || err == nil:
	case errors.Is(err, spec.ErrSkipped):
		t.Errorf("%s: skipped", tc.Desc)
	default:
		t.Errorf("%s: %s\n%v", tc.Desc, tc.Requirement, err)
	}
}

// ask sends a request, and reads what comes in another goroutine.
func ask(s exchange.Stream) {
	var request exchange.Head
	request.Method, request.Scheme = request.Intern("GET"), request.Intern("http")
	request.Authority, request.Path = request.Intern("a"), request.Intern("/")
	_ = s.WriteHead(&request, true)
	go func() {
		defer s.Close()
		var response exchange.Head
		end, err := s.ReadHead(&response)
		for !end && err == nil {
			_, end, err = s.ReadBody()
		}
	}()
}

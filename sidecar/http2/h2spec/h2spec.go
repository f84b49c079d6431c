// Package h2spec runs the cases of h2spec, which judges by RFC 7540, as tests of servers and of clients. It is for tests only, and knows nothing of what
// it judges but a port, or how to connect to one.
package h2spec

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// obsolete are the cases that RFC 9113 has made wrong, and why.
var obsolete = map[string]string{
	"http2/5.3.1/1": "priorities are deprecated (RFC 9113, 5.3.2): what a HEADERS frame says of dependencies is ignored, be it about itself",
	"http2/5.3.1/2": "priorities are deprecated (RFC 9113, 5.3.2): PRIORITY frames are ignored",
	"client/5.1/8":  may,
	"client/5.1/9":  may,
}

const may = "frames on a stream that the server has ended may be a connection's error, and need not be (RFC 9113, 5.1): the other exchanges on the connection go on"

// both is the case that cannot be judged on a port that speaks HTTP/1.1 as well: what does not begin with HTTP/2's preface is no HTTP/2 there (RFC
// 9113, 3.4), and answered in HTTP/1.1, which h2spec takes for a frame.
const both = "http2/3.5/2"

// crowd is the case that opens more streams than there may be: none of them may end before the last has begun.
const crowd = "http2/5.1.2/1"

// How many cases there are at least: fewer, and h2spec has not been asked rightly.
const (
	leastOfServers = 140
	leastOfClients = 30
)

// settings are what a case is run with.
func settings(id string) config.Config {
	c := config.Config{Host: "127.0.0.1", Path: "/", Timeout: 30 * time.Second, MaxHeaderLen: 4000, Insecure: true, Strict: true}
	if obsolete[id] != "" {
		c.Timeout = time.Second // for which it waits in vain
	}
	return c
}

// judge fails the test unless the case passes, or is obsolete and does not.
func judge(t *testing.T, id, desc, requirement string, err error) {
	why, old := obsolete[id]
	switch {
	case old && err == nil:
		t.Errorf("%s: it passes, though it is on the list: %s", desc, why)
	case old || err == nil:
	case errors.Is(err, spec.ErrSkipped):
		t.Errorf("%s: skipped", desc)
	default:
		t.Errorf("%s: %s\n%v", desc, requirement, err)
	}
}

// Server runs the cases for servers against a port of this machine, each on a connection of its own, as h2spec does. secure: over TLS, else with prior
// knowledge, on a port that speaks HTTP/1.1 as well. Requests for the path slowly must not be answered.
func Server(t *testing.T, port int, secure bool, slowly string) {
	cases := 0
	var walk func(*spec.TestGroup)
	walk = func(g *spec.TestGroup) {
		for i, tc := range append(g.Tests, g.StrictTests...) {
			cases++
			id := fmt.Sprintf("%s/%d", g.ID(), i+1)
			if id == both && !secure {
				continue
			}
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				c := settings(id)
				c.Port, c.TLS = port, secure
				if id == crowd {
					c.Path = slowly
				}
				conn, err := spec.Dial(&c)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				judge(t, id, tc.Desc, tc.Requirement, tc.Run(&c, conn))
			})
		}
		for _, sub := range g.Groups {
			walk(sub)
		}
	}
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		walk(g)
	}
	if cases < leastOfServers {
		t.Errorf("h2spec has only %d cases", cases)
	}
}

// Client runs the cases for clients: request connects to an address and sends a request there, whose server breaks the rules. It does not wait for an answer.
func Client(t *testing.T, request func(t *testing.T, address string)) {
	cases := 0
	var walk func(*spec.ClientTestGroup)
	walk = func(g *spec.ClientTestGroup) {
		for i, tc := range g.Tests {
			cases++
			id := fmt.Sprintf("%s/%d", g.ID(), i+1)
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				c := settings(id)
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				judged := make(chan error, 1)
				go func() { judged <- serve(l, tc, &c) }()
				request(t, l.Addr().String())
				judge(t, id, tc.Desc, tc.Requirement, <-judged)
			})
		}
		for _, sub := range g.Groups {
			walk(sub)
		}
	}
	walk(client.Spec())
	if cases < leastOfClients {
		t.Errorf("h2spec has only %d cases for clients", cases)
	}
}

// serve runs a case against the first client that connects.
func serve(l net.Listener, tc *spec.ClientTestCase, c *config.Config) error {
	raw, err := l.Accept()
	if err != nil {
		return err
	}
	defer raw.Close()
	conn, err := spec.Accept(c, raw)
	if err != nil {
		return err
	}
	return tc.Run(c, conn)
}

package http2

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
	"github.com/heddle-mesh/heddle/sidecar/listener"
)

// bodies tells what request bodies came to; early names a path that is answered, once told, without a look at the body.
type bodies struct {
	early  string
	answer chan struct{}
	served chan *serverStream
	got    chan string
}

func (bodies) Refuse(*exchange.Exchange, exchange.Downstream, *config.Bound, exchange.Outcome) {}

func (b bodies) Serve(x *exchange.Exchange, d exchange.Downstream, _ *config.Bound) {
	b.served <- d.(*serverStream)
	x.Response.Status = 200
	if x.Request.Path.Is(b.early) {
		<-b.answer
		_ = d.WriteHead(true)
		return
	}
	var all []byte
	p, end, err := d.ReadBody()
	for ; err == nil && !end; p, end, err = d.ReadBody() {
		all = append(all, p...)
	}
	all = append(all, p...)
	if err != nil {
		all = append(all, err.Error()...)
	}
	b.got <- string(all)
	_ = d.WriteHead(true)
}

// TestLateTrailers: the memory of a stream that ended while its trailers were on the way is another client's by the time they are complete.
func TestLateTrailers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := bodies{early: "/early", answer: make(chan struct{}), served: make(chan *serverStream, 2), got: make(chan string, 2)}
		s := NewServer(ServerOptions{Handler: h, Recorder: &counted{}, Log: slog.New(slog.DiscardHandler)})
		attacker, victim := pipedTo(t, s, nil), pipedTo(t, s, nil)
		defer attacker.nc.Close()
		defer victim.nc.Close()
		go io.Copy(io.Discard, attacker.nc)
		go io.Copy(io.Discard, victim.nc)

		id := attacker.open(attacker.fields(":method", "POST", ":scheme", "http", ":path", "/early", ":authority", "a"), false)
		used := <-h.served
		attacker.must(t, attacker.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: attacker.fields("x-a", "1"), EndStream: true}))
		synctest.Wait()
		close(h.answer)
		synctest.Wait()
		s.mem.streams.New = func() any { return used } // whether or not the pool has kept it

		of := victim.open(victim.fields(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a"), false)
		if <-h.served != used {
			t.Fatal("the stream was not used again")
		}
		s.mem.streams.New = nil
		attacker.must(t, attacker.WriteContinuation(id, true, attacker.fields("x-b", "2")))
		synctest.Wait()
		victim.must(t, victim.WriteData(of, true, []byte("whole")))
		if got := <-h.got; got != "whole" {
			t.Errorf("the other client's body is %q", got)
		}
		attacker.open(attacker.fields(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a", "x-a", "1", "x-b", "2"), true)
		if ss := <-h.served; !ss.x.Request.Get("x-b").Is("2") {
			t.Errorf("the tables are out of step: %v", ss.x.Request.Fields)
		}
	})
}

// TestLateHead is the same towards an upstream: the head of a request that was given up must not be the answer to another.
func TestLateHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs)
		codec := NewCodec(CodecOptions{})
		tr, err := codec.Transport(ours, &exchange.TransportInfo{})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		ask := func() exchange.Stream {
			st, err := tr.Open()
			if err != nil {
				t.Fatal(err)
			}
			var h exchange.Head
			h.Method, h.Path = exchange.View("GET"), exchange.View("/")
			if err := st.WriteHead(&h, true); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return st
		}
		var block bytes.Buffer
		enc, fr := hpack.NewEncoder(&block), http2.NewFramer(theirs, nil)
		fields := func(status, name string) []byte {
			block.Reset()
			if status != "" {
				_ = enc.WriteField(hpack.HeaderField{Name: ":status", Value: status})
			}
			_ = enc.WriteField(hpack.HeaderField{Name: name, Value: "1"})
			return block.Bytes()
		}

		first := ask()
		_ = fr.WriteSettings()
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields("200", "x-a")})
		synctest.Wait()
		first.Abort()
		first.Close()
		codec.mem.streams.New = func() any { return first }
		second := ask()
		if second != first {
			t.Fatal("the stream was not used again")
		}
		_ = fr.WriteContinuation(1, true, fields("", "x-b"))
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: fields("204", "x-b"), EndHeaders: true, EndStream: true})
		var got exchange.Head
		if _, err := second.ReadHead(&got); err != nil || got.Status != 204 || !got.Get("x-b").Is("1") {
			t.Errorf("got %d %v, %v", got.Status, got.Fields, err)
		}
		second.Close()
	})
}

// TestHeadAfterFarewell: the last GOAWAY leaves while a head is on the way. Its client was told that it would not be processed.
func TestHeadAfterFarewell(t *testing.T) {
	for name, busy := range map[string]bool{"beside another stream": true, "on a connection that ends with it": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := bodies{served: make(chan *serverStream, 2), got: make(chan string, 2)}
				s := NewServer(ServerOptions{Handler: h, Recorder: &counted{}, Log: slog.New(slog.DiscardHandler)})
				drain := listener.NewDrain()
				p := pipedTo(t, s, drain)
				defer p.nc.Close()
				go io.Copy(io.Discard, p.nc)
				block := p.get()
				if busy {
					p.open(block, false)
					<-h.served
				}
				late := p.next
				p.must(t, p.WriteHeaders(http2.HeadersFrameParam{StreamID: late, BlockFragment: block[:1], EndStream: true}))
				drain.Begin()
				time.Sleep(farewell)
				synctest.Wait()
				p.must(t, p.WriteContinuation(late, true, block[1:]))
				_ = p.WritePing(false, [8]byte{}) // so that the reader has a reason to go on
				synctest.Wait()
				select {
				case ss := <-h.served:
					t.Errorf("stream %d was processed", ss.id)
				default:
				}
			})
		})
	}
}

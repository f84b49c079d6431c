package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestServersAskForNoEcho holds that what a client sends is read without a ping for each message, which would double what a push to thousands costs.
func TestServersAskForNoEcho(t *testing.T) {
	const messages = 10
	server := newGRPC(&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2"}},
		grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			for range messages {
				if err := s.RecvMsg(&emptypb.Empty{}); err != nil {
					return err
				}
			}
			return s.SendMsg(&emptypb.Empty{})
		}))
	l, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // ends with Stop
	t.Cleanup(server.Stop)
	conn := dialHTTP2(t, l.Addr().String())
	framer := http2.NewFramer(conn, conn)
	var head bytes.Buffer
	coder := hpack.NewEncoder(&head)
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/any.Service/Call"},
		{Name: ":authority", Value: "heddled"}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}} {
		if err := coder.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(framer.WriteSettings())
	must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true}))
	for range messages {
		must(framer.WriteData(1, false, make([]byte, 5))) // an empty message
	}
	for {
		f, err := framer.ReadFrame()
		must(err)
		switch f := f.(type) {
		case *http2.PingFrame:
			t.Fatal("the server asks for an echo")
		case *http2.DataFrame:
			return
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatalf("the server refuses: %v", f)
		}
	}
}

// dialHTTP2 connects and says that HTTP/2 follows.
func dialHTTP2(t *testing.T, address string) net.Conn {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"heddled"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

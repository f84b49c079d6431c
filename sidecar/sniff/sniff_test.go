package sniff

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

func TestHTTP(t *testing.T) {
	for in, want := range map[string]struct {
		p exchange.Protocol
		v Verdict
	}{
		"":                                      {exchange.TCP, More},
		"G":                                     {exchange.TCP, More},
		"GET":                                   {exchange.TCP, More},
		"GET / HTTP/1.1":                        {exchange.TCP, More},
		"GET / HTTP/1.1\r\n":                    {exchange.HTTP1, Yes},
		"GET / HTTP/1.0\r\n":                    {exchange.HTTP10, Yes},
		"GET / HTTP/1.1\n":                      {exchange.HTTP1, Yes},
		"PROPFIND /x HTTP/1.1\r\nHost:":         {exchange.HTTP1, Yes},
		"get / HTTP/1.1\r\n":                    {exchange.HTTP1, Yes},
		"MERGE /a HTTP/1.1\r\n":                 {exchange.HTTP1, Yes},
		"M-SEARCH * HTTP/1.1\r\n":               {exchange.HTTP1, Yes},
		"LINK http://a/ HTTP/1.0\r\n":           {exchange.HTTP10, Yes},
		"any.token! /a HTTP/1.1\r\n":            {exchange.HTTP1, Yes},
		"any.token! /a HTTP/1.1":                {exchange.TCP, Doubt},
		"MERG":                                  {exchange.TCP, More},
		"MERGE /a":                              {exchange.TCP, More},
		"MERGED /a":                             {exchange.TCP, Doubt},
		"ruok":                                  {exchange.TCP, Doubt},
		"a(b /a HTTP/1.1\r\n":                   {exchange.TCP, No},
		"a(":                                    {exchange.TCP, No},
		" /a HTTP/1.1\r\n":                      {exchange.TCP, No},
		"MERGE  HTTP/1.1\r\n":                   {exchange.TCP, No},
		"MERGE HTTP/1.1\r\n":                    {exchange.TCP, No},
		"MERGE /a HTTP/1.2\r\n":                 {exchange.TCP, No},
		"HTTP/1.1 200 OK\r\n":                   {exchange.TCP, No},
		"SSH-2.0-x\r\n":                         {exchange.TCP, No},
		"EHLO a\r\n":                            {exchange.TCP, No},
		"INVITE sip:a SIP/2.0\r\n":              {exchange.TCP, No},
		"get foo\r\n":                           {exchange.TCP, No},
		"GET foo\r\n":                           {exchange.TCP, No},
		"HELLO":                                 {exchange.TCP, Doubt},
		"HELLO\r":                               {exchange.TCP, No},
		"\x16\x03\x01":                          {exchange.TCP, No},
		"PRI * HTTP/2.0\r\n\r\nSM\r\n":          {exchange.TCP, More},
		preface:                                 {exchange.HTTP2, Yes},
		preface + "\x00":                        {exchange.HTTP2, Yes},
		"P":                                     {exchange.TCP, More},
		"PRI / HTTP/1.1\r\n":                    {exchange.HTTP1, Yes},
		"GET /\x00":                             {exchange.TCP, No},
		"*3\r\n$3\r\nSET\r\n":                   {exchange.TCP, No},
		strings.Repeat("x", MaxPeek/2):          {exchange.TCP, No},
		"GET " + strings.Repeat("x", MaxPeek/2): {exchange.HTTP1, Yes},
		"MERGED /" + strings.Repeat("x", MaxPeek/2):    {exchange.HTTP1, Yes},
		"MERGED " + strings.Repeat("x ", MaxPeek/4):    {exchange.TCP, No},
		"MERGED /" + strings.Repeat("\x01", MaxPeek/2): {exchange.TCP, No},
	} {
		if p, v := HTTP([]byte(in)); p != want.p || v != want.v {
			t.Errorf("%q: got %v %v, want %v %v", in, p, v, want.p, want.v)
		}
	}
}

// hello catches a real ClientHello.
func hello(t testing.TB, c *tls.Config) []byte {
	client, server := net.Pipe()
	go func() {
		_ = tls.Client(client, c).Handshake()
	}()
	defer client.Close()
	defer server.Close()
	_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	var out []byte
	buf := make([]byte, 4096)
	for {
		n, err := server.Read(buf)
		out = append(out, buf[:n]...)
		if _, v := TLS(out); v == Yes || err != nil {
			return out
		}
		if err == io.EOF {
			return out
		}
	}
}

func TestTLS(t *testing.T) {
	full := hello(t, &tls.Config{ServerName: "a.example", NextProtos: []string{"istio-h2", "h2"}})
	h, v := TLS(full)
	if v != Yes || h.ServerName != "a.example" || !slices.Equal(h.ALPN, []string{"istio-h2", "h2"}) {
		t.Fatalf("got %v %+v", v, h)
	}
	for n := range len(full) {
		if _, v := TLS(full[:n]); v != More {
			t.Fatalf("after %d bytes: %v", n, v)
		}
	}
	if h, v := TLS(records(full, 50)); v != Yes || h.ServerName != "a.example" {
		t.Errorf("in several records: got %v %+v", v, h)
	}
	if h, v := TLS(hello(t, &tls.Config{InsecureSkipVerify: true})); v != Yes || h.ServerName != "" || h.ALPN != nil {
		t.Errorf("without extensions: got %v %+v", v, h)
	}
	for _, in := range []string{"GET / HTTP/1.1\r\n", "\x16\x02\x01\x00\x01\x01", "\x16\x03\x01\x00\x01\x02", "\x16\x03\x01\xff\xff\x01"} {
		if _, v := TLS([]byte(in)); v != No {
			t.Errorf("%q: got %v", in, v)
		}
	}
}

// records cuts a handshake message into records of n bytes.
func records(one []byte, n int) []byte {
	var out []byte
	for msg := range slices.Chunk(one[5:], n) {
		out = append(append(out, 22, 3, 1, 0, byte(len(msg))), msg...)
	}
	return out
}

func FuzzTLS(f *testing.F) {
	full := hello(f, &tls.Config{ServerName: "a.example", NextProtos: []string{"h2"}})
	f.Add(full)
	f.Add(records(full, 40))
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, v := TLS(p); v == More && len(p) > 2*MaxPeek {
			t.Fatalf("undecided after %d bytes", len(p))
		}
		for n := range min(len(p), 300) { // once decided, more bytes change nothing
			if _, early := TLS(p[:n]); early != More {
				if _, v := TLS(p); v != early {
					t.Fatalf("%v after %d bytes, %v after %d", early, n, v, len(p))
				}
			}
		}
	})
}

func FuzzHTTP(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte("MERGE /a HTTP/1.1\r\n"))
	f.Add([]byte(preface))
	f.Fuzz(func(t *testing.T, p []byte) {
		proto, v := HTTP(p)
		if (v == Yes) != (proto != exchange.TCP) {
			t.Fatalf("%v with %v", proto, v)
		}
		if (v == More || v == Doubt) && len(p) >= MaxPeek {
			t.Fatalf("undecided after %d bytes", len(p))
		}
		for n := range min(len(p), 300) { // once decided, more bytes change nothing
			if _, early := HTTP(p[:n]); (early == Yes || early == No) && early != v {
				t.Fatalf("%v after %d bytes, %v after %d", early, n, v, len(p))
			}
		}
	})
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/mirror"
)

// httpServer serves HTTP/1.1 and HTTP/2, in the clear or over TLS, and answers with what it saw.
func httpServer(args []string) error {
	f := flags("http-server", "[flags]")
	listen := f.String("listen", ":8080", "address to listen on")
	name := f.String("name", "toolbox", "the server's name in its answers")
	cert := f.String("cert", "", "certificate file: serves TLS")
	key := f.String("key", "", "key file")
	drain := f.Duration("drain", 5*time.Second, "how long open requests may take after the server was told to stop")
	_ = f.Parse(args)

	server := &http.Server{Addr: *listen, Handler: mirror.Handler(*name), ReadHeaderTimeout: 30 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.TLSConfig = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}

	ctx, stop := stopping()
	defer stop()
	failed := make(chan error, 1)
	go func() {
		if *cert != "" {
			failed <- server.ListenAndServeTLS(*cert, *key)
			return
		}
		failed <- server.ListenAndServe()
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), *drain)
	defer cancel()
	return server.Shutdown(ctx)
}

// tcpEcho sends back what it reads; with a name, line by line with the name before it.
func tcpEcho(args []string) error {
	f := flags("tcp-echo", "[flags]")
	listen := f.String("listen", ":9000", "address to listen on")
	name := f.String("name", "", "say this before every line")
	greet := f.Bool("greet", false, "speak first: send a line with the name on every new connection")
	_ = f.Parse(args)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *greet {
		l = greeting{l, *name + "\n"}
	}
	ctx, stop := stopping()
	defer stop()
	context.AfterFunc(ctx, func() { l.Close() })
	if err := mirror.Echo(l, *name); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// greeting speaks first.
type greeting struct {
	net.Listener
	text string
}

func (g greeting) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err == nil {
		_, _ = io.WriteString(c, g.text)
	}
	return c, err
}

// tcpClient sends a line and prints the line that comes back.
func tcpClient(args []string) error {
	f := flags("tcp-client", "[flags] HOST:PORT [TEXT]")
	timeout := f.Duration("timeout", 5*time.Second, "for everything")
	_ = f.Parse(args)
	if f.NArg() < 1 || f.NArg() > 2 {
		f.Usage()
		return fmt.Errorf("want an address and at most one text")
	}
	c, err := net.DialTimeout("tcp", f.Arg(0), *timeout)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(*timeout)); err != nil {
		return err
	}
	if f.NArg() == 2 {
		if _, err := io.WriteString(c, f.Arg(1)+"\n"); err != nil {
			return err
		}
	}
	line, err := readLine(c)
	fmt.Print(line)
	return err
}

// readLine reads up to a newline, without reading more.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := r.Read(b); err != nil {
			return string(line), err
		}
		if line = append(line, b[0]); b[0] == '\n' {
			return string(line), nil
		}
	}
}

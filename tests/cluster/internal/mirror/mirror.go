// Package mirror holds servers that tell their clients what they saw of them. They never dial anybody.
package mirror

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Seen is what a server tells the client of one request.
type Seen struct {
	Name    string              `json:"name"`    // what the server was told to call itself
	Machine string              `json:"machine"` // its host name: the pod's
	Server  string              `json:"server"`  // the address that was reached
	Client  string              `json:"client"`
	Proto   string              `json:"proto"`
	Method  string              `json:"method"`
	Host    string              `json:"host"`
	Path    string              `json:"path"`
	Headers map[string][]string `json:"headers"`
	Body    int64               `json:"body"` // bytes
	TLS     *TLS                `json:"tls,omitempty"`
}

// TLS is what a server saw of the handshake.
type TLS struct {
	ServerName string   `json:"serverName"`
	Version    string   `json:"version"`
	Cipher     string   `json:"cipher"`
	Protocol   string   `json:"protocol"` // ALPN
	Peers      []string `json:"peers,omitempty"`
}

// Handler answers every request with what it saw, as JSON. The path /status/503 sets the status, /delay/2s waits first.
func Handler(name string) http.Handler {
	machine, _ := os.Hostname()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { report(w, r, Seen{Name: name, Machine: machine}) })
}

func report(w http.ResponseWriter, r *http.Request, seen Seen) {
	size, _ := io.Copy(io.Discard, io.LimitReader(r.Body, 64<<20))
	seen.Client, seen.Proto, seen.Method = r.RemoteAddr, r.Proto, r.Method
	seen.Host, seen.Path, seen.Headers, seen.Body = r.Host, r.URL.RequestURI(), r.Header, size
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		seen.Server = a.String()
	}
	if s := r.TLS; s != nil {
		seen.TLS = &TLS{
			ServerName: s.ServerName, Version: tls.VersionName(s.Version), Cipher: tls.CipherSuiteName(s.CipherSuite), Protocol: s.NegotiatedProtocol,
		}
		for _, c := range s.PeerCertificates {
			seen.TLS.Peers = append(seen.TLS.Peers, c.Subject.String())
		}
	}
	status := http.StatusOK
	if text, ok := strings.CutPrefix(r.URL.Path, "/status/"); ok {
		if n, err := strconv.Atoi(text); err == nil && n >= 200 && n <= 599 {
			status = n
		}
	}
	if text, ok := strings.CutPrefix(r.URL.Path, "/delay/"); ok {
		if d, err := time.ParseDuration(text); err == nil && d <= time.Minute {
			time.Sleep(d)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(seen)
}

// Echo sends back every line that it reads, with a name and a space before it where there is a name. Without a name it sends back
// every byte as it comes.
func Echo(l net.Listener, name string) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go func() {
			defer c.Close()
			if name == "" {
				_, _ = io.Copy(c, c)
				return
			}
			for lines := bufio.NewScanner(c); lines.Scan(); {
				if _, err := fmt.Fprintf(c, "%s %s\n", name, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

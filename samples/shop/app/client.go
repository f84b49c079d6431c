package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// tally is what a client saw; it is printed as one line of JSON.
type tally struct {
	Sent     int            `json:"sent"`
	Codes    map[string]int `json:"codes"`             // by status, or "error"
	Versions map[string]int `json:"versions"`          // by the X-Version of the answer
	Errors   map[string]int `json:"errors,omitempty"`  // by text
	Body     string         `json:"body,omitempty"`    // of the last answer, at most 8 KiB
	Headers  http.Header    `json:"headers,omitempty"` // of the last answer
	BytesOut int            `json:"bytesOut"`          // of request bodies, or of lines
	BytesIn  int            `json:"bytesIn"`           // of response bodies, or of lines
	Seconds  float64        `json:"seconds"`
	SlowestS float64        `json:"slowest"` // seconds
}

// options of the client.
type options struct {
	url, method, host, body, sni string
	headers                      headerFlags
	n, parallel                  int
	duration, pause, timeout     time.Duration
	fresh, insecure, h2, stdin   bool
	connect                      string
}

// headerFlags collects -H "name: value".
type headerFlags []string

func (h *headerFlags) String() string     { return strings.Join(*h, ", ") }
func (h *headerFlags) Set(v string) error { *h = append(*h, v); return nil }

func parseOptions(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("client", flag.ContinueOnError)
	f.StringVar(&o.method, "method", "GET", "request method")
	f.StringVar(&o.host, "host", "", "Host header, if another than the URL's")
	f.StringVar(&o.body, "body", "", "request body")
	f.StringVar(&o.sni, "sni", "", "server name of TLS, if another than the URL's host")
	f.StringVar(&o.connect, "connect", "", "address to connect to, if another than the URL's")
	f.Var(&o.headers, "H", "header, name: value; may be repeated")
	f.IntVar(&o.n, "n", 1, "requests")
	f.IntVar(&o.parallel, "c", 1, "workers")
	f.DurationVar(&o.duration, "duration", 0, "send for this long instead of -n requests")
	f.BoolVar(&o.stdin, "stdin", false, "end once something, or the end, comes in on standard input; with -duration")
	f.DurationVar(&o.pause, "pause", 0, "wait between a worker's requests")
	f.DurationVar(&o.timeout, "timeout", 15*time.Second, "limit of one request")
	f.BoolVar(&o.fresh, "fresh", false, "a new connection for each request")
	f.BoolVar(&o.insecure, "insecure", false, "do not verify TLS certificates")
	f.BoolVar(&o.h2, "h2", false, "HTTP/2, in cleartext with prior knowledge where the URL is http")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() != 1 {
		return o, fmt.Errorf("one URL is wanted, got %d", f.NArg())
	}
	o.url = f.Arg(0)
	return o, nil
}

func (o options) transport() *http.Transport {
	t := &http.Transport{DisableKeepAlives: o.fresh, MaxIdleConnsPerHost: o.parallel, Protocols: new(http.Protocols)}
	t.TLSClientConfig = &tls.Config{ServerName: o.sni, InsecureSkipVerify: o.insecure}
	t.Protocols.SetHTTP1(!o.h2)
	t.Protocols.SetHTTP2(o.h2)
	t.Protocols.SetUnencryptedHTTP2(o.h2)
	if o.connect != "" {
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, o.connect)
		}
	}
	return t
}

// runClient sends requests and prints a tally. It fails only where it cannot begin: what answers say is the tally's.
func runClient(ctx context.Context, args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
		o.n = 1 << 40
		if o.stdin {
			go func() {
				_, _ = os.Stdin.Read(make([]byte, 1)) // whatever comes, or nothing any more
				cancel()
			}()
		}
	}
	c := &counter{tally: tally{Codes: map[string]int{}, Versions: map[string]int{}, Errors: map[string]int{}}, left: o.n}
	client := &http.Client{Transport: o.transport(), Timeout: o.timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	start := time.Now()
	var workers sync.WaitGroup
	for range o.parallel {
		workers.Go(func() {
			for ctx.Err() == nil && c.take() {
				c.one(client, o)
				time.Sleep(o.pause)
			}
		})
	}
	workers.Wait()
	c.Seconds = time.Since(start).Seconds()
	return json.NewEncoder(os.Stdout).Encode(c.tally)
}

// counter is a tally that several workers write.
type counter struct {
	mu sync.Mutex
	tally
	left int
}

func (c *counter) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return false
	}
	c.left--
	return true
}

// one sends a request; requests that have begun are finished even when the time is up.
func (c *counter) one(client *http.Client, o options) {
	start := time.Now()
	resp, body, err := o.do(client)
	took := time.Since(start).Seconds()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Sent++
	c.SlowestS = max(c.SlowestS, took)
	if err != nil {
		c.Codes["error"]++
		c.Errors[err.Error()]++
		return
	}
	c.BytesOut, c.BytesIn = c.BytesOut+len(o.body), c.BytesIn+len(body)
	c.Codes[fmt.Sprint(resp.StatusCode)]++
	if v := resp.Header.Get("X-Version"); v != "" {
		c.Versions[v]++
	}
	c.Body, c.Headers = string(body[:min(len(body), 8<<10)]), resp.Header
}

func (o options) do(client *http.Client) (*http.Response, []byte, error) {
	req, err := http.NewRequest(o.method, o.url, bytes.NewReader([]byte(o.body)))
	if err != nil {
		return nil, nil, err
	}
	if o.host != "" {
		req.Host = o.host
	}
	for _, h := range o.headers {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// runStream opens -c streams of ?seconds= each and reports how many reached their end.
func runStream(ctx context.Context, args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	o.timeout = 5 * time.Minute
	client := &http.Client{Transport: o.transport(), Timeout: o.timeout}
	var mu sync.Mutex
	out := struct {
		Streams  int            `json:"streams"`
		Whole    int            `json:"whole"`
		Shortest float64        `json:"shortest"` // seconds that the shortest whole one took
		Versions map[string]int `json:"versions"`
		Errors   map[string]int `json:"errors,omitempty"`
	}{Versions: map[string]int{}, Errors: map[string]int{}}
	var workers sync.WaitGroup
	for range o.parallel {
		workers.Go(func() {
			start := time.Now()
			resp, body, err := o.do(client)
			took := time.Since(start).Seconds()
			mu.Lock()
			defer mu.Unlock()
			out.Streams++
			switch {
			case err != nil:
				out.Errors[err.Error()]++
			case !bytes.HasSuffix(body, []byte("end\n")):
				out.Errors[fmt.Sprintf("status %d, cut after %d bytes", resp.StatusCode, len(body))]++
			default:
				if out.Whole++; out.Whole == 1 || took < out.Shortest {
					out.Shortest = took
				}
				out.Versions[resp.Header.Get("X-Version")]++
			}
		})
	}
	workers.Wait()
	return json.NewEncoder(os.Stdout).Encode(out)
}

// runTCPClient asks the ledger -n times, each over a new connection, and prints a tally by version.
func runTCPClient(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("tcpclient", flag.ContinueOnError)
	n := f.Int("n", 1, "connections")
	timeout := f.Duration("timeout", 5*time.Second, "limit of one connection")
	line := f.String("line", "balance", "what to send")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("one host:port is wanted, got %d", f.NArg())
	}
	t := tally{Codes: map[string]int{}, Versions: map[string]int{}, Errors: map[string]int{}}
	start := time.Now()
	for range *n {
		one, cancel := context.WithTimeout(ctx, *timeout)
		answer, err := askLedger(one, f.Arg(0), *line)
		cancel()
		t.Sent++
		if err != nil {
			t.Codes["error"]++
			t.Errors[err.Error()]++
			continue
		}
		t.Codes["ok"]++
		t.BytesOut, t.BytesIn = t.BytesOut+len(*line)+1, t.BytesIn+len(answer)+1 // and the ends of the lines
		v, _, _ := strings.Cut(answer, " ")
		t.Versions[v]++
		t.Body = answer
	}
	t.Seconds = time.Since(start).Seconds()
	return json.NewEncoder(os.Stdout).Encode(t)
}

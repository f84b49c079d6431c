package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
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

// target is a request as the command line describes it; its flags are called as curl's.
type target struct {
	method, body, cacert, capem, cert, key, sni, resolve string
	headers                                              list
	insecure, h2, noKeepAlive                            bool
	timeout                                              time.Duration
}

// list is a flag that may be given many times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ", ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func (t *target) register(f *flag.FlagSet) {
	f.StringVar(&t.method, "X", "", "method (default GET, with -d POST)")
	f.StringVar(&t.body, "d", "", "body")
	f.Var(&t.headers, "H", "header `Name: value`; Host is the request's host; may be repeated")
	f.BoolVar(&t.insecure, "k", false, "accept any certificate")
	f.StringVar(&t.cacert, "cacert", "", "accept certificates of these authorities")
	f.StringVar(&t.capem, "cacert-pem", "", "accept certificates of these authorities, given as text")
	f.StringVar(&t.cert, "cert", "", "client certificate file")
	f.StringVar(&t.key, "key", "", "its key file")
	f.StringVar(&t.sni, "sni", "", "server name in the TLS handshake (default: the URL's host)")
	f.StringVar(&t.resolve, "connect-to", "", "dial this `host:port`, whatever the URL says")
	f.BoolVar(&t.h2, "http2", false, "HTTP/2, also without TLS")
	f.BoolVar(&t.noKeepAlive, "no-keepalive", false, "a connection per request")
	f.DurationVar(&t.timeout, "m", 10*time.Second, "timeout of one request")
}

func (t *target) client() (*http.Client, error) {
	config := &tls.Config{InsecureSkipVerify: t.insecure, ServerName: t.sni, MinVersion: tls.VersionTLS12}
	roots := []byte(t.capem)
	if t.cacert != "" {
		data, err := os.ReadFile(t.cacert)
		if err != nil {
			return nil, err
		}
		roots = append(roots, data...)
	}
	if len(roots) > 0 {
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(roots) {
			return nil, errors.New("the given authorities hold no certificate")
		}
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{
		TLSClientConfig: config, Protocols: new(http.Protocols), MaxIdleConnsPerHost: 1000, DisableKeepAlives: t.noKeepAlive, DisableCompression: true,
	}
	transport.Protocols.SetHTTP1(!t.h2)
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(t.h2)
	if t.resolve != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, t.resolve)
		}
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: transport, Timeout: t.timeout, CheckRedirect: refuse}, nil
}

func (t *target) request(url string) (*http.Request, error) {
	method := t.method
	if method == "" && t.body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequest(method, url, strings.NewReader(t.body))
	if err != nil {
		return nil, err
	}
	for _, h := range t.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, fmt.Errorf("header %q has no colon", h)
		}
		if value = strings.TrimSpace(value); strings.EqualFold(name, "host") {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	return r, nil
}

// curl makes one request and prints the answer's body. Its exit code is 0 where an answer came, whatever its status, unless -f is given.
func curl(args []string) error {
	f := flags("curl", "[flags] URL")
	var t target
	t.register(f)
	head := f.Bool("i", false, "print status and headers too")
	fail := f.Bool("f", false, "fail where the status is 400 or above")
	_ = f.Parse(args)
	if f.NArg() != 1 {
		f.Usage()
		return errors.New("want one URL, after the flags")
	}
	client, err := t.client()
	if err != nil {
		return err
	}
	request, err := t.request(f.Arg(0))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if *head {
		fmt.Println(response.Proto, response.Status)
		_ = response.Header.Write(os.Stdout)
		fmt.Println()
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if *fail && response.StatusCode >= 400 {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// tally is what load saw.
type tally struct {
	mu       sync.Mutex
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"` // without an answer
	Status   map[string]int `json:"status"`
	Answers  map[string]int `json:"answers,omitempty"` // by the asked field of the answers' JSON
	Errors   map[string]int `json:"errors,omitempty"`
	Seconds  float64        `json:"seconds"`
}

// load makes many requests and prints how they were answered.
func load(args []string) error {
	f := flags("load", "[flags] URL")
	var t target
	t.register(f)
	count := f.Int("n", 100, "requests; 0 for as many as fit into -t")
	workers := f.Int("c", 4, "requests at a time")
	duration := f.Duration("t", 0, "for how long (default: until all are made)")
	field := f.String("by", "", "count the answers by this field of their JSON, e.g. name")
	pace := f.Duration("pace", 0, "pause of each worker between requests")
	_ = f.Parse(args)
	if f.NArg() != 1 || (*count == 0 && *duration == 0) {
		f.Usage()
		return errors.New("want one URL, after the flags, and -n or -t")
	}
	client, err := t.client()
	if err != nil {
		return err
	}
	ctx, stop := stopping()
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	result := &tally{Status: map[string]int{}, Answers: map[string]int{}, Errors: map[string]int{}}
	begin := time.Now()
	var group sync.WaitGroup
	for range *workers {
		group.Go(func() {
			for ctx.Err() == nil && result.next(*count) {
				result.add(once(client, &t, f.Arg(0), *field))
				if *pace > 0 {
					time.Sleep(*pace)
				}
			}
		})
	}
	group.Wait()
	result.Seconds = time.Since(begin).Seconds()
	return json.NewEncoder(os.Stdout).Encode(result)
}

// next takes one of the requests that are left to make.
func (t *tally) next(count int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if count > 0 && t.Requests >= count {
		return false
	}
	t.Requests++
	return true
}

func (t *tally) add(status int, answer string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.Failed++
		t.Errors[err.Error()]++
		return
	}
	t.Status[fmt.Sprint(status)]++
	if answer != "" {
		t.Answers[answer]++
	}
}

func once(client *http.Client, t *target, url, field string) (status int, answer string, err error) {
	request, err := t.request(url)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	if err != nil {
		return 0, "", err
	}
	if field != "" {
		var object map[string]any
		if json.Unmarshal(body, &object) == nil {
			answer = fmt.Sprint(object[field])
		}
	}
	return response.StatusCode, answer, nil
}

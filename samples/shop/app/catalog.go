package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// item is something to buy.
type item struct {
	Name  string `json:"name"`
	Price int    `json:"price"` // cents
}

var items = []item{{"Linen cloth", 2400}, {"Wool yarn", 950}, {"Boxwood shuttle", 1800}, {"Steel heddles, 100", 3200}}

// catalogAnswer is what /items says; headers of the request come back so that a test can look at them.
type catalogAnswer struct {
	Service string            `json:"service"`
	Version string            `json:"version"`
	Pod     string            `json:"pod"`
	Items   []item            `json:"items,omitempty"`
	Headers map[string]string `json:"headers"`
	Path    string            `json:"path"`
}

// runCatalog serves the catalog: /items, /echo, /status/<code>, /delay/<duration>, /flaky (fails every other request), /stream (a line each 100 ms),
// /once (tells a request that came before). Where FAIL is set, every request but the probe's gets that status.
func runCatalog(ctx context.Context, _ []string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/items", answer(items))
	mux.HandleFunc("/", answer(nil))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.PathValue("code"))
		if err != nil || code < 200 || code > 599 {
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
	})
	mux.HandleFunc("/delay/{duration}", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.PathValue("duration"))
		select {
		case <-time.After(min(d, time.Minute)):
		case <-r.Context().Done():
		}
		answer(nil)(w, r)
	})
	var calls atomic.Uint64
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		answer(nil)(w, r)
	})
	mux.HandleFunc("/stream", stream)
	mux.HandleFunc("/once", once())
	if code, err := strconv.Atoi(env("FAIL", "")); err == nil {
		return serve(ctx, env("LISTEN", ":8080"), signed(failing(code)))
	}
	return serve(ctx, env("LISTEN", ":8080"), signed(mux))
}

// failing answers with a status whatever it is asked, but lives.
func failing(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(code)
		}
	})
}

// onceAnswer says how many requests have come, and how many of them had come before.
type onceAnswer struct {
	Came  int `json:"came"`
	Again int `json:"again"`
}

// once counts POSTs by X-Request-Id, and answers one that has come before with 409. GET reads the counts.
func once() http.HandlerFunc {
	var mu sync.Mutex
	var counts onceAnswer
	seen := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the client has gone
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			id := r.Header.Get("X-Request-Id")
			counts.Came++
			if seen[id] {
				counts.Again++
				w.WriteHeader(http.StatusConflict)
			}
			seen[id] = true
		}
		_ = json.NewEncoder(w).Encode(counts) // the client has gone
	}
}

func answer(items []item) http.HandlerFunc {
	pod, _ := os.Hostname()
	return func(w http.ResponseWriter, r *http.Request) {
		a := catalogAnswer{Service: env("SERVICE", "catalog"), Version: version(), Pod: pod, Items: items, Path: r.URL.RequestURI(), Headers: map[string]string{"host": r.Host}}
		for k, v := range r.Header {
			a.Headers[http.CanonicalHeaderKey(k)] = v[0]
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // the client has gone
	}
}

// stream sends a line each 100 ms for ?seconds=, so that a cut shows.
func stream(w http.ResponseWriter, r *http.Request) {
	seconds, _ := strconv.Atoi(r.URL.Query().Get("seconds"))
	flush := http.NewResponseController(w)
	for range max(1, seconds) * 10 {
		if _, err := w.Write([]byte(version() + "\n")); err != nil {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
	_, _ = w.Write([]byte("end\n")) // the client has gone
}

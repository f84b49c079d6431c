// Package admin answers questions about a running proxy: its configuration, its health and its numbers, and the probes that it took
// over from the application. It observes and asks others to act; it decides nothing about traffic. Keys never pass through it.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Proxy is what the engine tells of itself. Values are turned into JSON as they are.
type Proxy interface {
	Ready() error                        // nil: it may be given traffic
	ConfigDump(q DumpQuery) (any, error) // nil: there is no such resource
	Resources(kind string) (any, error)
	Clusters() any
	Listeners() any
	Certificates() any
	Discovery() any
	Drain()
	Quit()
}

// DumpQuery is what a request for the configuration asks for, as of Envoy.
type DumpQuery struct {
	Resource  string // a field, "dynamic_listeners" for example, whose elements are asked for alone; "": everything
	Endpoints bool   // endpoints, too
}

// Options of the handlers.
type Options struct {
	Proxy   Proxy
	Metrics prometheus.Gatherer
	Level   *slog.LevelVar
	Log     *slog.Logger
}

// Handler is the whole interface, for the pod's own use on wire.PortAdmin.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config_dump", o.configDump)
	for path, get := range map[string]func() any{"clusters": o.Proxy.Clusters, "listeners": o.Proxy.Listeners, "certs": o.Proxy.Certificates,
		"discovery": o.Proxy.Discovery} {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, get()) })
	}
	metrics := Metrics(o)
	mux.Handle("GET /stats", metrics)
	mux.Handle("GET "+wire.PathPrometheus, metrics)
	mux.HandleFunc("GET /ready", ready(o.Proxy))
	mux.HandleFunc("GET "+wire.PathSockets, sockets)
	mux.HandleFunc("/logging", o.logging)
	mux.HandleFunc("POST "+wire.PathAdminDrain, func(w http.ResponseWriter, _ *http.Request) {
		o.Proxy.Drain()
		fmt.Fprintln(w, "draining")
	})
	mux.HandleFunc("POST "+wire.PathQuit, quit(o.Proxy))
	return mux
}

// Metrics is the proxy's own metrics.
func Metrics(o Options) http.Handler {
	return promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Ready is wire.PortReady: whether the proxy may be given traffic, and nothing else.
func Ready(p Proxy) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathReady, ready(p))
	return mux
}

// Prometheus is wire.PortProxyPrometheus: the proxy's own metrics, and nothing else.
func Prometheus(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+wire.PathPrometheus, Metrics(o))
	return mux
}

// configDump answers in Envoy's words, but for ?type=, of which Envoy has none.
func (o Options) configDump(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	for name := range query {
		if name != "type" && name != "resource" && name != "include_eds" {
			http.Error(w, name+": it is none of resource, include_eds, type", http.StatusBadRequest)
			return
		}
	}
	var dump any
	var err error
	if query.Has("type") {
		dump, err = o.Proxy.Resources(query.Get("type"))
	} else {
		dump, err = o.Proxy.ConfigDump(DumpQuery{Resource: query.Get("resource"), Endpoints: query.Has("include_eds")})
	}
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case dump == nil:
		http.Error(w, query.Get("resource")+" not found in config dump", http.StatusNotFound)
	default:
		writeJSON(w, dump)
	}
}

func ready(p Proxy) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := p.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "LIVE")
	}
}

// quit answers first and ends the proxy then.
func quit(p Proxy) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "bye")
		if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		p.Quit()
	}
}

func (o Options) logging(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		var level slog.Level
		if err := level.UnmarshalText([]byte(r.URL.Query().Get("level"))); err != nil {
			http.Error(w, "level: it is none of debug, info, warn, error", http.StatusBadRequest)
			return
		}
		o.Level.Set(level)
		o.Log.Info("log level changed", "level", level.String())
	}
	writeJSON(w, map[string]string{"level": o.Level.Level().String()})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	_ = encoder.Encode(v) // a client that went away is nobody to tell
}

// Listen opens a listening socket; net.Listen is one.
type Listen func(network, address string) (net.Listener, error)

// Serve serves h on address until ctx ends.
func Serve(ctx context.Context, listen Listen, address string, h http.Handler) error {
	listener, err := listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serving on %s: %w", address, err)
	}
	return ServeOn(ctx, listener, h)
}

// ServeOn is Serve on a listener, which it closes.
func ServeOn(ctx context.Context, listener net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	}
	return nil
}

package admin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/heddle-mesh/heddle/api/wire"
)

// scrapeTimeout is how long the application may take to answer a scrape.
const scrapeTimeout = 5 * time.Second

// App is what the proxy answers for on behalf of the application.
type App struct {
	Address    string                   // the pod's own
	Probes     map[string]wire.AppProbe // by path
	Prometheus *wire.AppPrometheus      // nil: the application has no metrics to merge
}

// Status is wire.PortStatus, which other pods reach: metrics, readiness, registered probes; ending the proxy from this pod only.
func Status(o Options, app App) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+wire.PathPrometheus, merged{o.Metrics, app, o.Log})
	mux.HandleFunc("GET "+wire.PathReady, ready(o.Proxy))
	prober := newProber(app.Address)
	for path, probe := range app.Probes {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { prober.serve(w, r, probe) })
	}
	mux.HandleFunc("POST "+wire.PathQuit, func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.RemoteAddr) {
			http.Error(w, "only from within the pod", http.StatusForbidden)
			return
		}
		quit(o.Proxy)(w, r)
	})
	return mux
}

func loopback(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// merged is the proxy's own metrics followed by the application's.
type merged struct {
	own prometheus.Gatherer
	app App
	log *slog.Logger
}

// ServeHTTP implements http.Handler. The text format is the one that can be concatenated.
func (m merged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	families, err := m.own.Gather()
	if err != nil && len(families) == 0 {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	encoder := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return
		}
	}
	if m.app.Prometheus == nil {
		return
	}
	if err := m.scrape(r.Context(), w); err != nil {
		m.log.Warn("the application's metrics are missing", "error", err)
	}
}

func (m merged) scrape(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	url := "http://" + join("127.0.0.1", m.app.Prometheus.Port) + "/" + strings.TrimPrefix(m.app.Prometheus.Path, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("scraping %s: %w", url, err)
	}
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	response, err := scraper().Do(request)
	if err != nil {
		return fmt.Errorf("scraping: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("scraping %s: status %d", url, response.StatusCode)
	}
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("scraping %s: %w", url, err)
	}
	return nil
}

// scraper keeps no connection: scrapes are many seconds apart.
func scraper() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

func join(host string, port int32) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

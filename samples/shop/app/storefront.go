package main

import (
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

// carried are the request headers that an application must hand on for routing by user and for traces to join.
var carried = []string{"x-user", "x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled"}

// page is what the storefront shows: what each service behind it answered.
type page struct {
	User     string `json:"user"`
	Catalog  reply  `json:"catalog"`
	Stock    reply  `json:"stock"`
	Ledger   reply  `json:"ledger"`
	Items    []item `json:"items"`
	Frontend string `json:"frontend"`
}

// row is a line of the page's table.
type row struct {
	Service string
	reply
}

// Rows are the services in the order in which the page shows them.
func (p page) Rows() []row {
	return []row{{"catalog", p.Catalog}, {"stock (gRPC)", p.Stock}, {"ledger (TCP)", p.Ledger}}
}

// reply is one service's answer.
type reply struct {
	Version string `json:"version"`
	Error   string `json:"error,omitempty"`
}

type storefront struct {
	catalog, ledger string
	stock           *stockClient
	http            *http.Client
}

// runStorefront serves the shop's page: / as HTML, /api as JSON.
func runStorefront(ctx context.Context, _ []string) error {
	stock, err := newStockClient(env("STOCK", "stock:9090"))
	if err != nil {
		return err
	}
	s := &storefront{catalog: env("CATALOG", "http://catalog:8080"), ledger: env("LEDGER", "ledger:9000"), stock: stock, http: &http.Client{Timeout: 10 * time.Second}}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/api", s.api)
	mux.HandleFunc("/", s.html)
	return serve(ctx, env("LISTEN", ":8080"), signed(mux))
}

// signed says in every answer, also one of an error, which version gave it.
func signed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Version", version())
		h.ServeHTTP(w, r)
	})
}

func (s *storefront) collect(r *http.Request) page {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	p := page{User: r.Header.Get("X-User"), Frontend: version()}
	p.Catalog, p.Items = s.askCatalog(ctx, r.Header)
	if answer, err := s.stock.count(ctx, "heddles"); err != nil {
		p.Stock.Error = err.Error()
	} else {
		p.Stock.Version = lastWord(answer)
	}
	if answer, err := askLedger(ctx, s.ledger, "balance"); err != nil {
		p.Ledger.Error = err.Error()
	} else {
		p.Ledger.Version, _, _ = strings.Cut(answer, " ")
	}
	return p
}

func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

func (s *storefront) askCatalog(ctx context.Context, in http.Header) (reply, []item) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.catalog+"/items", nil)
	if err != nil {
		return reply{Error: err.Error()}, nil
	}
	for _, k := range carried {
		if v := in.Get(k); v != "" {
			req.Header.Set(k, v)
		}
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return reply{Error: err.Error()}, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return reply{Error: resp.Status}, nil
	}
	var a catalogAnswer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return reply{Error: fmt.Sprintf("reading catalog: %v", err)}, nil
	}
	return reply{Version: a.Version}, a.Items
}

func (s *storefront) api(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.collect(r)) // the client has gone
}

func (s *storefront) html(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = pageTemplate.Execute(w, s.collect(r)) // the client has gone
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"price": func(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) },
}).Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>The Weaver's Shop</title>
<style>
 body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#23303b;background:#faf8f4}
 h1{font-weight:600;letter-spacing:-.02em;margin-bottom:.2rem} p{color:#5b6770;margin-top:0}
 table{width:100%;border-collapse:collapse;margin:1.5rem 0;background:#fff;border-radius:8px;overflow:hidden;box-shadow:0 1px 3px #0002}
 td,th{padding:.6rem 1rem;text-align:left;border-bottom:1px solid #eee8dd} th{font-weight:600;color:#5b6770} td:last-child{text-align:right}
 .v{font-family:ui-monospace,monospace;background:#e7efe4;border-radius:4px;padding:.1rem .5rem} .e{background:#f7dede;color:#8b1a1a}
</style>
<h1>The Weaver's Shop</h1><p>{{with .User}}Good day, {{.}}. {{end}}This page was woven from these services:</p>
<table><tr><th>service<th>answered by</tr>
<tr><td>storefront<td><span class="v">{{.Frontend}}</span></tr>
{{range .Rows}}<tr><td>{{.Service}}<td>{{if .Error}}<span class="v e">{{.Error}}</span>{{else}}<span class="v">{{.Version}}</span>{{end}}</tr>
{{end}}</table>
<table><tr><th>item<th>price</tr>{{range .Items}}<tr><td>{{.Name}}<td>{{price .Price}}</tr>{{end}}</table></html>
`))

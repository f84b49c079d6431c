package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// size is a mesh: services, and proxies that are connected.
type size struct{ services, proxies int }

func (s size) String() string { return fmt.Sprintf("%dx%d", s.services, s.proxies) }

// group is rows of the table that belong together.
type group struct {
	name  string
	title string
	sizes []size
	// grows is what becomes more from row to row; nil: the rows are not compared with each other.
	grows func(size) int
}

func services(s size) int { return s.services }
func proxies(s size) int  { return s.proxies }

// known are the groups that have a name.
func known() map[string]group {
	return map[string]group{
		"core":     {name: "core"},
		"sizes":    {name: "sizes", title: "Sizes", sizes: []size{{500, 100}, {1000, 400}, {1000, 1000}}},
		"services": {name: "services", title: "Growing with services", sizes: []size{{250, 200}, {500, 200}, {1000, 200}, {2000, 200}, {4000, 200}}, grows: services},
		"proxies":  {name: "proxies", title: "Growing with proxies", sizes: []size{{500, 100}, {500, 250}, {500, 500}, {500, 1000}, {500, 2000}}, grows: proxies},
	}
}

// parseRows reads names of groups and sizes, such as "sizes,services" or "500x100,1000x400". Sizes given one by one are a group.
func parseRows(text string) ([]group, error) {
	var out []group
	chosen := group{name: "chosen", title: "Chosen"}
	for _, word := range strings.Split(text, ",") {
		if g, ok := known()[word]; ok {
			out = append(out, g)
			continue
		}
		s, err := parseSize(word)
		if err != nil {
			return nil, err
		}
		chosen.sizes = append(chosen.sizes, s)
	}
	if len(chosen.sizes) > 0 {
		out = append(out, chosen)
	}
	return out, nil
}

func parseSize(text string) (size, error) {
	before, after, ok := strings.Cut(text, "x")
	s, err1 := strconv.Atoi(before)
	p, err2 := strconv.Atoi(after)
	if !ok || err1 != nil || err2 != nil || s < 1 || p < 1 {
		return size{}, fmt.Errorf("row %q: it is neither core, sizes, services, proxies nor SERVICESxPROXIES", text)
	}
	return size{s, p}, nil
}

// figures are what one row shows. Times are from just before the write to the API server until the last client was told; bytes are of
// messages, as all clients received them.
type figures struct {
	connect, endpoints, service, virtual time.Duration
	cold, serviceBytes, virtualBytes     int64
	memory                               int64         // peak, resident
	cpu                                  time.Duration // of the control plane from its start until all are connected
}

// column is one figure of a row.
type column struct {
	title string
	of    func(figures) float64
	show  func(float64) string
	// must is how much of istiod's figure it may be, for clients that are told everything, and onDemand for those that are not; 0: no must.
	must, onDemand float64
}

func columns() []column {
	took := func(of func(figures) time.Duration) func(figures) float64 {
		return func(f figures) float64 { return of(f).Seconds() }
	}
	return []column{
		{"connect all, cold", took(func(f figures) time.Duration { return f.connect }), showSeconds, 0.3, 0.1},
		{"bytes cold", func(f figures) float64 { return float64(f.cold) }, showBytes, 0.5, 0.1},
		{"endpoint change", took(func(f figures) time.Duration { return f.endpoints }), showSeconds, 0.2, 0},
		{"new Service", took(func(f figures) time.Duration { return f.service }), showSeconds, 0.2, 0},
		{"bytes", func(f figures) float64 { return float64(f.serviceBytes) }, showBytes, 0.5, 0},
		{"new VirtualService", took(func(f figures) time.Duration { return f.virtual }), showSeconds, 0.2, 0},
		{"bytes", func(f figures) float64 { return float64(f.virtualBytes) }, showBytes, 0.5, 0},
		{"peak memory", func(f figures) float64 { return float64(f.memory) }, showBytes, 0.2, 0.1},
		{"CPU s cold", took(func(f figures) time.Duration { return f.cpu }), showSeconds, 0.2, 0.1},
	}
}

func showSeconds(s float64) string {
	if s < 0.0995 {
		return fmt.Sprintf("%.1f ms", s*1000)
	}
	if s < 1 {
		return fmt.Sprintf("%.0f ms", s*1000)
	}
	return fmt.Sprintf("%.1f s", s)
}

func showBytes(b float64) string {
	switch {
	case b >= 1e9:
		return fmt.Sprintf("%.2f GB", b/1e9)
	case b >= 1e6:
		return fmt.Sprintf("%.0f MB", b/1e6)
	}
	return fmt.Sprintf("%.0f kB", b/1e3)
}

package http2

import (
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/heddle-mesh/heddle/sidecar/config"
	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// slow answers after a while.
type slow time.Duration

func (slow) Refuse(*exchange.Exchange, exchange.Downstream, *config.Bound, exchange.Outcome) {}

func (s slow) Serve(x *exchange.Exchange, d exchange.Downstream, _ *config.Bound) {
	time.Sleep(time.Duration(s))
	x.Response.Status = 200
	_ = d.WriteHead(true)
}

// TestIdleConnections: a client's connection ends when there has been no stream for as long as it may be idle, however long there was one before.
func TestIdleConnections(t *testing.T) {
	const second = time.Second
	for name, c := range map[string]struct {
		idle  time.Duration
		lasts time.Duration   // each stream
		begin []time.Duration // each stream, since the one before
		want  time.Duration   // since the beginning
	}{
		"no stream":                           {5 * second, 0, nil, 5 * second},
		"a short one":                         {5 * second, second, []time.Duration{2 * second}, 8 * second},
		"a stream when it might have ended":   {5 * second, 3 * second, []time.Duration{4 * second}, 12 * second},
		"a long one":                          {5 * second, 100 * second, []time.Duration{0}, 105 * second},
		"one after the other":                 {5 * second, 2 * second, []time.Duration{4 * second, 6 * second, 6 * second, 3 * second}, 26 * second},
		"many at a time":                      {5 * second, 20 * second, []time.Duration{4 * second, second, second}, 31 * second},
		"idle for longer than between looks":  {45 * second, 15 * second, []time.Duration{20 * second}, 80 * second},
		"idle for longer, a stream at a look": {45 * second, 15 * second, []time.Duration{50 * second / 2, 30 * second}, 115 * second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewServer(ServerOptions{Handler: slow(c.lasts), Recorder: &counted{}, Log: slog.New(slog.DiscardHandler)})
				begun := time.Now()
				p := pipedBy(t, &config.HTTP{IdleTimeout: c.idle}, s, nil, func(nc net.Conn) net.Conn { return nc })
				defer p.nc.Close()
				go func() {
					for _, after := range c.begin {
						time.Sleep(after)
						p.open(p.get(), true)
					}
				}()
				for {
					f, err := p.ReadFrame()
					p.must(t, err)
					if g, ok := f.(*http2.GoAwayFrame); ok {
						if took := time.Since(begun); g.ErrCode != http2.ErrCodeNo || took != c.want {
							t.Errorf("%v after %v, want it after %v", g.ErrCode, took, c.want)
						}
						return
					}
				}
			})
		})
	}
}

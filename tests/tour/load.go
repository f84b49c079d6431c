package tour

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
)

// loadLimit ends a load that nobody ended, as a duration of the client's.
const loadLimit = "15m"

// load is requests that are sent until somebody says stop.
type load struct {
	what string
	key  *io.PipeWriter
	end  chan result
}

type result struct {
	t   *Tally
	err error
}

// begin sends requests to a URL from the client, two at a time, until finish is called.
func (s *Stage) begin(ctx context.Context, what, url string) *load {
	s.Ran("kubectl -n shop exec -i deploy/client-v1 -c client -- /shop client -c 2 -pause 20ms -duration %s -stdin %s   # until the end", loadLimit, url)
	return s.start(ctx, what, fromClient.Container, []string{url}, func() (*corev1.Pod, error) { return s.Pod(ctx, ShopNamespace, fromClient.Selector) })
}

// Load sends requests to a URL from a pod's client, two at a time, until end is called, which tells what became of them. Further arguments are the
// client's.
func (c *Cluster) Load(ctx context.Context, p *corev1.Pod, container, url string, args ...string) (end func() (*Tally, error)) {
	l := c.start(ctx, "", container, append(args, url), func() (*corev1.Pod, error) { return p, nil })
	return func() (*Tally, error) {
		l.stop()
		r := <-l.end
		return r.t, r.err
	}
}

func (c *Cluster) start(ctx context.Context, what, container string, args []string, find func() (*corev1.Pod, error)) *load {
	stdin, key := io.Pipe()
	l := &load{what: what, key: key, end: make(chan result, 1)}
	go func() {
		defer stdin.Close()
		p, err := find()
		if err != nil {
			l.end <- result{err: err}
			return
		}
		t, err := c.ask(ctx, p, container, stdin, append([]string{"client", "-c", "2", "-pause", "20ms", "-duration", loadLimit, "-stdin"}, args...)...)
		l.end <- result{t, err}
	}()
	return l
}

// stop ends the load, and may be called again.
func (l *load) stop() {
	_, _ = l.key.Write([]byte("\n")) // fails where the load has ended
	l.key.Close()
}

// finish ends the load and wants every request of it, all the time, to have been answered with 200.
func (s *Stage) finish(l *load, least float64) error {
	l.stop()
	r := <-l.end
	if r.err != nil {
		return fmt.Errorf("%s: %w", l.what, r.err)
	}
	if !r.t.All("200") {
		return fmt.Errorf("%s: %s", l.what, r.t)
	}
	if r.t.Seconds < least {
		return fmt.Errorf("%s: the load ended after %.0f s already, not %.0f", l.what, r.t.Seconds, least)
	}
	s.Saw("%s: %s in %.0f s, from before the outage until after the renewal", l.what, r.t, r.t.Seconds)
	return nil
}

package install

import (
	"context"
	"fmt"
	"io"
	"time"
)

// every is how often a wait looks again, and reminder how often it says so when nothing changed.
const (
	every    = 500 * time.Millisecond
	reminder = 10 * time.Second
)

// progress tells a person what was done and what is waited for, with the time since the start.
type progress struct {
	out   io.Writer
	start time.Time
}

func newProgress(out io.Writer) *progress { return &progress{out: out, start: time.Now()} }

func (p *progress) done(format string, args ...any) {
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// wait calls look until it returns an empty reason. A new reason is printed, an old one repeated now and then; when ctx ends, the
// last reason is the error.
func (p *progress) wait(ctx context.Context, what string, look func(ctx context.Context) (reason string, err error)) error {
	last, said := "", time.Time{}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		reason, err := look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && reason == "":
			p.done("%s", what)
			return nil
		case err == nil && (reason != last || time.Since(said) >= reminder):
			last, said = reason, time.Now()
			p.done("waiting for %s", reason)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s waiting for %s", time.Since(p.start).Round(time.Second), last)
		case <-ticker.C:
		}
	}
}

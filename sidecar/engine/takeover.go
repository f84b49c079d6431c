package engine

import (
	"context"
	"errors"
	"time"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
	"github.com/heddle-mesh/heddle/sidecar/takeover"
)

// Takeover takes the sockets of the process before over, where there is one, and serves in its stead once it can; and lets the next process do the same.
func (e *Engine) Takeover() lifecycle.Component {
	asked := make(chan struct{})
	return lifecycle.Component{Name: "takeover", Ready: asked, Run: func(ctx context.Context) error {
		path, log := e.options.Takeover, e.options.Log
		if path == "" {
			close(asked)
			<-ctx.Done()
			return nil
		}
		found, err := e.sockets.Ask(path)
		if err != nil {
			return err // whoever has the sockets goes on, and may be asked again
		}
		close(asked)
		if found {
			if err := e.succeed(ctx); err != nil || ctx.Err() != nil {
				e.late.Store(errors.Is(err, takeover.ErrTaken))
				return err
			}
		}
		taken, err := e.sockets.Offer(ctx, path)
		if err != nil {
			log.Error("no process can take over from this one", "error", err)
		}
		if taken {
			log.Info("another process serves from here")
			e.replaced.Store(true)
			e.options.Quit()
		}
		<-ctx.Done()
		return nil
	}}
}

// succeed waits until this process can serve, or ctx ends, and has the one before let go of the sockets. The error is takeover.ErrTaken.
func (e *Engine) succeed(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for view.Ready(view{e}) != nil && !e.sockets.Taken() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	switch err := e.sockets.Serve(); {
	case errors.Is(err, takeover.ErrTaken):
		return err
	case err != nil:
		e.options.Log.Warn("serving without the word of the process before", "error", err)
	}
	e.options.Log.Info("serving in the stead of the process before")
	return nil
}

package forward

import (
	"time"

	"github.com/heddle-mesh/heddle/sidecar/exchange"
)

// discover holds a request until the control plane has said who serves its host, and matches it again with the configuration in force then.
// What cannot be fetched in time is answered as what is not configured: it never goes where unknown hosts go.
func (r *run) discover() exchange.Outcome {
	question := ""
	r.d.Watch()
	defer r.d.Unwatch()
	gone := r.x.Done()
	timer := time.NewTimer(r.p.hold)
	defer timer.Stop()
	for {
		changed := r.b.Changed()
		b := r.b.Again()
		if b == nil || b.Routes == nil || b.Chain.HTTP == nil {
			return r.undiscovered()
		}
		r.b, r.http = b, b.Chain.HTTP
		if r.vhost, r.route = b.Routes.Match(r.x); !r.vhost.Unasked() {
			return exchange.OK
		}
		if question == "" {
			question = b.Routes.Question(r.x.Request.Authority)
		}
		if r.p.demands == nil || !r.p.demands.Host(b.Routes.Name, question) {
			return r.undiscovered()
		}
		select {
		case <-changed:
		case <-gone:
			r.vhost, r.route = nil, nil
			return exchange.ClientGone
		case <-timer.C:
			return r.undiscovered()
		}
	}
}

func (r *run) undiscovered() exchange.Outcome {
	r.vhost, r.route = nil, nil
	return exchange.NoCluster
}

package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/internal/lifecycle"
)

// writer counts how many of it write at the same time.
type writer struct{ now, most atomic.Int32 }

func (w *writer) component() lifecycle.Component {
	return lifecycle.Component{Name: "writer", Run: func(ctx context.Context) error {
		if n := w.now.Add(1); n > w.most.Load() {
			w.most.Store(n)
		}
		<-ctx.Done()
		w.now.Add(-1)
		return nil
	}}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestOneReplicaWritesAndAnotherTakesOver(t *testing.T) {
	kube, w := fake.NewClientset(), &writer{}
	start := func(name string) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		l := &leader{kube: kube, namespace: "heddle-system", lease: wire.LeaderElectionLease, identity: name, log: slog.New(slog.DiscardHandler), writers: []lifecycle.Component{w.component()}}
		go func() { done <- l.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	holder := func() string {
		lease, err := kube.CoordinationV1().Leases("heddle-system").Get(t.Context(), wire.LeaderElectionLease, meta.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return ""
		}
		return *lease.Spec.HolderIdentity
	}
	stopA := start("a")
	until(t, "a writes", func() bool { return w.now.Load() == 1 && holder() == "a" })
	stopB := start("b")
	defer stopB()
	stopA()
	until(t, "b writes", func() bool { return w.now.Load() == 1 && holder() == "b" })
	if w.most.Load() != 1 {
		t.Errorf("%d wrote at the same time", w.most.Load())
	}
}

func TestAWriterThatFailsIsStartedAgain(t *testing.T) {
	var runs atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	l := &leader{log: slog.New(slog.DiscardHandler), writers: []lifecycle.Component{{Name: "broken", Run: func(context.Context) error {
		if runs.Add(1) == 2 {
			cancel()
		}
		return errors.New("broken")
	}}}}
	l.write(ctx)
	if runs.Load() != 2 {
		t.Errorf("it ran %d times", runs.Load())
	}
}

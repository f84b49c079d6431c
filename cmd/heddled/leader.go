package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/heddle-mesh/heddle/internal/lifecycle"
)

// How long a lease lasts, how long its holder tries to renew it, and how often anybody tries.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// leader runs writers while this replica holds the lease. Losing the lease stops them and nothing else.
type leader struct {
	kube      kubernetes.Interface
	namespace string
	lease     string
	identity  string
	log       *slog.Logger
	writers   []lifecycle.Component
}

// Run takes part in elections until ctx ends.
func (l *leader) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.term(ctx); err != nil {
			return err
		}
	}
	return nil
}

// term waits for the lease, writes while it is held, and returns once the writers have stopped.
func (l *leader) term(ctx context.Context) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  meta.ObjectMeta{Namespace: l.namespace, Name: l.lease},
		Client:     l.kube.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: l.identity},
	}
	var writing sync.WaitGroup
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   leaseDuration,
		RenewDeadline:   renewDeadline,
		RetryPeriod:     retryPeriod,
		ReleaseOnCancel: true,
		Name:            l.lease,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { writing.Go(func() { l.write(ctx) }) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("preparing leader election: %w", err)
	}
	term, cancel := context.WithCancel(ctx)
	defer cancel()
	elector.Run(term)
	cancel()
	writing.Wait()
	return nil
}

// write runs the writers until ctx ends. One that fails is started again: serving does not depend on it.
func (l *leader) write(ctx context.Context) {
	l.log.Info("leading: writing begins")
	for ctx.Err() == nil {
		if err := lifecycle.Run(ctx, l.writers...); err != nil && ctx.Err() == nil {
			l.log.Error("a writer failed, all begin again", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryPeriod):
			}
		}
	}
	l.log.Info("no longer leading: writing has stopped")
}

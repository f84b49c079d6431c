package main

import (
	"context"
	"log/slog"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/heddle-mesh/heddle/ca/attest"
	"github.com/heddle-mesh/heddle/injector/completion"
)

// newCompletion tells ordinary sidecars that their pod's application has ended. Its callers prove themselves as to the CA.
func newCompletion(cl *cluster, attestor *attest.Attestor, log *slog.Logger) *completion.Server {
	return completion.New(completion.Config{
		Attest: func(ctx context.Context) (completion.Caller, error) {
			proof := attest.FromContext(ctx)
			proof.Chain = nil
			caller, err := attestor.Attest(ctx, proof)
			return completion.Caller{Namespace: caller.Namespace, Name: caller.PodName, UID: caller.PodUID}, err
		},
		Pod: func(ctx context.Context, namespace, name string) *core.Pod {
			pod, err := cl.cachedPod(ctx, namespace, name)
			if err != nil {
				return nil
			}
			return pod
		},
		Informer: func(ctx context.Context) (cache.Informer, error) { return cl.cache.GetInformer(ctx, &core.Pod{}) },
		Log:      log,
	})
}

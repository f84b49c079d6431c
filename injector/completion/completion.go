// Package completion tells an ordinary sidecar that the other containers of its pod have ended for good, so that a Job completes and a
// deleted pod need not use up its grace period: a container cannot see that by itself, and a pod's account may not read pods. It tells a
// caller about its own pod only, changes nothing in the cluster, and is not needed where sidecars are native.
package completion

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/heddle-mesh/heddle/api/wire"
)

// Ended reports whether every container of pod but the proxy has ended and will not be started again.
func Ended(pod *corev1.Pod) bool {
	ended := 0
	for i := range pod.Status.ContainerStatuses {
		s := &pod.Status.ContainerStatuses[i]
		if s.Name == wire.ProxyContainer {
			continue
		}
		if !forGood(pod, &s.State) {
			return false
		}
		ended++
	}
	return ended > 0 && ended >= applications(pod)
}

// forGood reports whether a container of pod in this state stays as it is: in a pod that is being deleted none is started again.
func forGood(pod *corev1.Pod, state *corev1.ContainerState) bool {
	end, deleted := state.Terminated, pod.DeletionTimestamp != nil
	switch {
	case deleted && state.Waiting != nil:
		return state.Waiting.Reason == waitsToRestart
	case end == nil:
		return false
	case deleted || pod.Spec.RestartPolicy == corev1.RestartPolicyNever:
		return true
	}
	return pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && end.ExitCode == 0
}

// waitsToRestart is the reason of a container that has ended and is to be started after a while.
const waitsToRestart = "CrashLoopBackOff"

// applications counts the containers that are not the proxy. One that has no status yet has not ended.
func applications(pod *corev1.Pod) int {
	n := 0
	for _, c := range pod.Spec.Containers {
		if c.Name != wire.ProxyContainer {
			n++
		}
	}
	return n
}

// Caller is the proven pod of a call.
type Caller struct{ Namespace, Name, UID string }

// Config is what a Server needs.
type Config struct {
	// Attest proves the caller of a gRPC call; its error refuses it.
	Attest func(ctx context.Context) (Caller, error)
	// Pod finds a pod in the cache that Informer fills; nil if it is not there.
	Pod func(ctx context.Context, namespace, name string) *corev1.Pod
	// Informer is that of pods.
	Informer func(ctx context.Context) (cache.Informer, error)
	Log      *slog.Logger
}

// Server answers wire.MethodAwaitCompletion.
type Server struct {
	Config
	mu      sync.Mutex
	waiting map[types.UID]*wait
}

// wait is shared by all calls of one pod.
type wait struct {
	calls int
	ended chan struct{}
}

// New returns a Server. It learns of pods while Run runs.
func New(c Config) *Server { return &Server{Config: c, waiting: map[types.UID]*wait{}} }

// Run watches pods until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	informer, err := s.Informer(ctx)
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	handle, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    s.see,
		UpdateFunc: func(_, obj any) { s.see(obj) },
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	<-ctx.Done()
	if err := informer.RemoveEventHandler(handle); err != nil {
		return fmt.Errorf("watching pods no more: %w", err)
	}
	return nil
}

func (s *Server) see(obj any) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || !Ended(pod) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.waiting[pod.UID]; w != nil {
		delete(s.waiting, pod.UID)
		close(w.ended)
	}
}

// await returns once the caller's pod has ended.
func (s *Server) await(ctx context.Context) error {
	caller, err := s.Attest(ctx)
	if err != nil {
		s.Log.Warn("a proxy that asks for its pod's end is refused", "err", err)
		return status.Error(codes.Unauthenticated, "the caller is not proven to be a pod")
	}
	uid := types.UID(caller.UID)
	ended := s.join(uid)
	defer s.leave(uid)
	if pod := s.Pod(ctx, caller.Namespace, caller.Name); pod != nil && pod.UID == uid && Ended(pod) {
		return nil
	}
	select {
	case <-ended:
		s.Log.Info("a pod's application has ended, its proxy may", "namespace", caller.Namespace, "pod", caller.Name)
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (s *Server) join(uid types.UID) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting[uid]
	if w == nil {
		w = &wait{ended: make(chan struct{})}
		s.waiting[uid] = w
	}
	w.calls++
	return w.ended
}

func (s *Server) leave(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.waiting[uid]; w != nil {
		if w.calls--; w.calls == 0 {
			delete(s.waiting, uid)
		}
	}
}

// Register adds s to a gRPC server, which must serve TLS.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: wire.ServiceCompletion,
		HandlerType: (*awaiter)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Await", Handler: handle}},
	}, s)
}

type awaiter interface{ await(context.Context) error }

func handle(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	in := &emptypb.Empty{}
	if err := decode(in); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, _ any) (any, error) {
		return &emptypb.Empty{}, srv.(awaiter).await(ctx)
	}
	if interceptor == nil {
		return call(ctx, in)
	}
	return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: wire.MethodAwaitCompletion}, call)
}

package completion_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/injector/completion"
)

func running(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func exited(name string, code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func job(uid string, policy corev1.RestartPolicy, statuses ...corev1.ContainerStatus) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "report", UID: types.UID(uid)}, Spec: corev1.PodSpec{RestartPolicy: policy}}
	for _, s := range statuses {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: s.Name})
	}
	pod.Status.ContainerStatuses = statuses
	return pod
}

func TestEnded(t *testing.T) {
	proxy := running(wire.ProxyContainer)
	young := job("u", corev1.RestartPolicyNever, proxy, exited("a", 0), exited("b", 0))
	young.Status.ContainerStatuses = young.Status.ContainerStatuses[:2]
	deleted := func(statuses ...corev1.ContainerStatus) *corev1.Pod {
		pod := job("u", corev1.RestartPolicyAlways, append(statuses, proxy)...)
		pod.DeletionTimestamp = &metav1.Time{}
		return pod
	}
	waits := func(reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "a", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}
	}
	for _, c := range []struct {
		why  string
		pod  *corev1.Pod
		want bool
	}{
		{"deleted, and running", deleted(running("a")), false},
		{"deleted, and ended", deleted(exited("a", 143)), true},
		{"deleted, one of two", deleted(exited("a", 0), running("b")), false},
		{"deleted between two failures", deleted(waits("CrashLoopBackOff")), true},
		{"deleted while it was to be started", deleted(waits("ContainerCreating")), false},
		{"still running", job("u", corev1.RestartPolicyNever, proxy, running("a")), false},
		{"ended well", job("u", corev1.RestartPolicyNever, proxy, exited("a", 0)), true},
		{"failed, and not to be started again", job("u", corev1.RestartPolicyNever, proxy, exited("a", 1)), true},
		{"failed, and to be started again", job("u", corev1.RestartPolicyOnFailure, proxy, exited("a", 1)), false},
		{"ended well under OnFailure", job("u", corev1.RestartPolicyOnFailure, proxy, exited("a", 0)), true},
		{"one of two", job("u", corev1.RestartPolicyNever, proxy, exited("a", 0), running("b")), false},
		{"always started again", job("u", corev1.RestartPolicyAlways, proxy, exited("a", 0)), false},
		{"no status at all", job("u", corev1.RestartPolicyNever), false},
		{"only the proxy has a status", job("u", corev1.RestartPolicyNever, proxy), false},
		{"one without status yet", young, false},
	} {
		if got := completion.Ended(c.pod); got != c.want {
			t.Errorf("%s: %t", c.why, got)
		}
	}
}

// world is a server over a fake cluster.
type world struct {
	t       *testing.T
	cluster *fake.Clientset
	conn    *grpc.ClientConn
}

func serve(t *testing.T, pods ...*corev1.Pod) *world {
	t.Helper()
	w := &world{t: t, cluster: fake.NewClientset()}
	for _, pod := range pods {
		if _, err := w.cluster.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	factory := informers.NewSharedInformerFactory(w.cluster, 0)
	lister, informer := factory.Core().V1().Pods().Lister(), factory.Core().V1().Pods().Informer()
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	s := completion.New(completion.Config{
		Attest: func(ctx context.Context) (completion.Caller, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			if uid := md.Get("uid"); len(uid) == 1 {
				return completion.Caller{Namespace: "shop", Name: "report", UID: uid[0]}, nil
			}
			return completion.Caller{}, errors.New("no token")
		},
		Pod: func(_ context.Context, namespace, name string) *corev1.Pod {
			pod, _ := lister.Pods(namespace).Get(name)
			return pod
		},
		Informer: func(context.Context) (cache.Informer, error) { return informer, nil },
		Log:      slog.New(slog.DiscardHandler),
	})
	go func() {
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	server := grpc.NewServer()
	s.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	if w.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.conn.Close() })
	return w
}

func (w *world) await(uid string, patience time.Duration) codes.Code {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if uid != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "uid", uid)
	}
	return status.Code(w.conn.Invoke(ctx, wire.MethodAwaitCompletion, &emptypb.Empty{}, &emptypb.Empty{}))
}

func TestAwait(t *testing.T) {
	const long, short = 10 * time.Second, 100 * time.Millisecond
	proxy := running(wire.ProxyContainer)
	w := serve(t, job("u", corev1.RestartPolicyNever, proxy, running("a")))
	if code := w.await("u", short); code != codes.DeadlineExceeded {
		t.Errorf("while the application runs: %s", code)
	}
	if code := w.await("", short); code != codes.Unauthenticated {
		t.Errorf("an unproven caller: %s", code)
	}
	first, second := make(chan codes.Code, 1), make(chan codes.Code, 1)
	go func() { first <- w.await("u", long) }()
	go func() { second <- w.await("u", long) }()
	time.Sleep(50 * time.Millisecond)
	if _, err := w.cluster.CoreV1().Pods("shop").Update(t.Context(), job("u", corev1.RestartPolicyNever, proxy, exited("a", 0)), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if a, b := <-first, <-second; a != codes.OK || b != codes.OK {
		t.Errorf("when it ended: %s, %s", a, b)
	}
	if code := w.await("u", long); code != codes.OK {
		t.Errorf("after it ended: %s", code)
	}
	if code := w.await("other", short); code != codes.DeadlineExceeded {
		t.Errorf("a pod of the same name and another UID: %s", code)
	}
}

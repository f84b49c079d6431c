package survey

import (
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/report"
	"github.com/heddle-mesh/heddle/pilot/translate/core"
)

// abreast is how many pods are asked at once.
const abreast = 16

// localhost tells of programs that listen on their pod's loopback alone, on a port of a Service: the proxy hands connections to the pod's address.
func (s *survey) localhost() {
	if s.from.Listening == nil {
		return
	}
	type answer struct {
		addresses []netip.AddrPort
		known     bool
	}
	var pods []*corev1.Pod
	for _, p := range s.in.Pods {
		if !core.Ended(p) && p.DeletionTimestamp == nil && hasSidecar(p) && len(s.targets(p)) > 0 {
			pods = append(pods, p)
		}
	}
	answers, free := make([]answer, len(pods)), make(chan struct{}, abreast)
	var asked sync.WaitGroup
	for i, p := range pods {
		free <- struct{}{}
		asked.Go(func() {
			answers[i].addresses, answers[i].known = s.from.Listening(p)
			<-free
		})
	}
	asked.Wait()
	for i, p := range pods {
		for _, port := range s.targets(p) {
			if on := answers[i].addresses; answers[i].known && onlyLoopback(on, port) {
				s.tell(about("Pod", nameOf(p)), report.Localhost, "", "port %d is a Service's, and its program listens on the pod's loopback alone: nobody reaches it", port)
			}
		}
	}
}

// onlyLoopback reports whether somebody listens on a port, and on loopback only.
func onlyLoopback(all []netip.AddrPort, port uint16) bool {
	of := func(a netip.AddrPort) bool { return a.Port() == port }
	reachable := func(a netip.AddrPort) bool { return of(a) && !a.Addr().IsLoopback() }
	return slices.ContainsFunc(all, of) && !slices.ContainsFunc(all, reachable)
}

// targets are the ports of a pod that Services lead to.
func (s *survey) targets(p *corev1.Pod) []uint16 {
	var out []uint16
	for _, svc := range s.snap.Services {
		if svc.Entry || svc.Selector == nil || svc.Namespace != p.Namespace || !svc.Selector.Matches(p.Labels) {
			continue
		}
		for _, port := range svc.Ports {
			if n := target(p, port); n != 0 && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

// target is the container port behind a Service's port; 0: the pod has none of its name.
func target(p *corev1.Pod, port model.ServicePort) uint16 {
	if port.TargetName == "" {
		return port.Target
	}
	for _, c := range p.Spec.Containers {
		for _, named := range c.Ports {
			if named.Name == port.TargetName {
				return uint16(named.ContainerPort)
			}
		}
	}
	return 0
}

// hasSidecar reports whether a pod has a proxy beside its application.
func hasSidecar(p *corev1.Pod) bool {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == wire.ProxyContainer {
			return !slices.Contains(slices.Concat(c.Command, c.Args), wire.CommandGateway)
		}
	}
	return false
}

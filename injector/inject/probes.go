package inject

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/heddle-mesh/heddle/api/wire"
)

// appProbes are the probes and hooks that the proxy answers for the application, by path.
type appProbes map[string]wire.AppProbe

// takeProbes redirects probes and hooks that go over the network to the proxy, which asks the application from inside the pod: the
// kubelet has no certificate of the mesh. What runs a command stays, and so does what names a host, for it asks somebody else.
func takeProbes(pod *corev1.Pod, s settings, token string) (appProbes, error) {
	taken := appProbes{}
	if !s.rewriteProbes {
		return taken, nil
	}
	hooks := wire.PathAppLifecycle + token + "/"
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			taken.takeContainer(&containers[i], hooks)
		}
	}
	if err := taken.check(); err != nil {
		return nil, err
	}
	if token == "" && slices.ContainsFunc(slices.Collect(maps.Keys(taken)), func(path string) bool { return strings.HasPrefix(path, hooks) }) {
		return nil, errors.New("taking over lifecycle hooks: there is no token to protect them")
	}
	return taken, nil
}

// takeContainer takes a container's; hooks is what their paths begin with.
func (t appProbes) takeContainer(c *corev1.Container, hooks string) {
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
	}{{"livez", c.LivenessProbe}, {"readyz", c.ReadinessProbe}, {"startupz", c.StartupProbe}} {
		if p.probe != nil {
			t.takeProbe(c, p.probe, wire.PathAppHealth+c.Name+"/"+p.name)
		}
	}
	if c.Lifecycle == nil {
		return
	}
	t.takeHook(c, c.Lifecycle.PostStart, hooks+c.Name+"/poststartz")
	t.takeHook(c, c.Lifecycle.PreStop, hooks+c.Name+"/prestopz")
}

func (t appProbes) takeProbe(c *corev1.Container, p *corev1.Probe, path string) {
	app, ok := application(c, p.HTTPGet, p.TCPSocket)
	if p.GRPC != nil {
		app, ok = wire.AppProbe{GRPC: &wire.AppGRPCProbe{Port: p.GRPC.Port}}, true
		if p.GRPC.Service != nil {
			app.GRPC.Service = *p.GRPC.Service
		}
	}
	if !ok {
		return
	}
	app.TimeoutSeconds = p.TimeoutSeconds
	t[path] = app
	p.ProbeHandler = corev1.ProbeHandler{HTTPGet: toProxy(path)}
}

func (t appProbes) takeHook(c *corev1.Container, h *corev1.LifecycleHandler, path string) {
	if h == nil {
		return
	}
	app, ok := application(c, h.HTTPGet, h.TCPSocket)
	if !ok {
		return
	}
	t[path] = app
	h.HTTPGet, h.TCPSocket = toProxy(path), nil
}

// application returns what the proxy is to ask, and whether it is to ask at all.
func application(c *corev1.Container, http *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction) (wire.AppProbe, bool) {
	switch {
	case http != nil && http.Host == "":
		port, ok := portNumber(c, http.Port)
		app := &wire.AppHTTPProbe{Port: port, Scheme: string(http.Scheme), Path: http.Path}
		for _, h := range http.HTTPHeaders {
			app.Headers = append(app.Headers, wire.AppHeader{Name: h.Name, Value: h.Value})
		}
		return wire.AppProbe{HTTPGet: app}, ok
	case tcp != nil && tcp.Host == "":
		port, ok := portNumber(c, tcp.Port)
		return wire.AppProbe{TCPSocket: &wire.AppTCPProbe{Port: port}}, ok
	}
	return wire.AppProbe{}, false
}

// portNumber resolves a named port as the kubelet does, among the container's own. A probe of a port that does not exist is left to
// fail as it would have.
func portNumber(c *corev1.Container, port intstr.IntOrString) (int32, bool) {
	if port.Type == intstr.Int {
		return port.IntVal, true
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return p.ContainerPort, true
		}
	}
	return 0, false
}

func toProxy(path string) *corev1.HTTPGetAction {
	return &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(wire.PortStatus), Scheme: corev1.URISchemeHTTP}
}

// check refuses a probe that had been taken before: one of a pod that was copied from a running one, without its proxy. The proxy
// would ask itself for ever.
func (t appProbes) check() error {
	for _, path := range slices.Sorted(maps.Keys(t)) {
		http := t[path].HTTPGet
		if http == nil || http.Port != wire.PortStatus {
			continue
		}
		if strings.HasPrefix(http.Path, wire.PathAppHealth) || strings.HasPrefix(http.Path, wire.PathAppLifecycle) {
			parts := strings.Split(path, "/")
			return fmt.Errorf("container %s: a probe asks for %s on port %d, where only the proxy answers", parts[len(parts)-2], http.Path, wire.PortStatus)
		}
	}
	return nil
}

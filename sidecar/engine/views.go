package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/heddle-mesh/heddle/api/wire"
	"github.com/heddle-mesh/heddle/sidecar/admin"
	"github.com/heddle-mesh/heddle/sidecar/compile"
	"github.com/heddle-mesh/heddle/sidecar/compile/configdump"
	"github.com/heddle-mesh/heddle/sidecar/mtls"
	"github.com/heddle-mesh/heddle/sidecar/upstream"
)

// view implements admin.Proxy.
type view struct{ e *Engine }

// Drain implements admin.Proxy.
func (v view) Drain() { v.e.Drain() }

// Quit implements admin.Proxy.
func (v view) Quit() { v.e.dismiss() }

// Ready implements admin.Proxy: a certificate, a configuration, and those listeners bound that the proxy cannot do without.
func (v view) Ready() error {
	switch {
	case v.e.drained.begun():
		return errors.New("draining")
	case v.e.options.Identity.Certificate() == nil:
		return errors.New("no certificate")
	}
	types := []string{"Cluster", "Listener"}
	if v.e.options.Node.Names { // an application that was told of no such name might remember that
		typ := v.e.options.Node.NamesType()
		types = append(types, typ[strings.LastIndexByte(typ, '.')+1:])
	}
	for _, typ := range types {
		if v.e.client.Status().Types[typ].Responses == 0 {
			return fmt.Errorf("no %ss from the control plane yet", strings.ToLower(typ))
		}
	}
	if err := v.e.sink.unbound.Load().among(v.e.indispensable); err != nil {
		return err
	}
	if v.e.sink.warming() {
		return errors.New("listeners wait for their routes or clusters")
	}
	return nil
}

// indispensable says whether there is no point in traffic without a listener: it is where captured traffic arrives, or a gateway's. Any other is one of many
// that users ask for, at an address that may be another's, or nobody's.
func (e *Engine) indispensable(listener string) bool {
	return e.options.Gateway || listener == wire.ListenerVirtualInbound || listener == wire.ListenerVirtualOutbound
}

type resourcesView struct {
	Version   string           `json:"version"`
	Node      string           `json:"node"`
	Resources []compile.Dumped `json:"resources"`
}

// Resources implements admin.Proxy.
func (v view) Resources(kind string) (any, error) {
	resources, err := v.e.sink.dump(kind)
	return resourcesView{Version: v.e.store.Load().Version, Node: v.e.options.Node.ID(), Resources: resources}, err
}

// ConfigDump implements admin.Proxy.
func (v view) ConfigDump(q admin.DumpQuery) (any, error) {
	resources, err := v.e.sink.versions()
	if err != nil {
		return nil, err
	}
	p := configdump.Proxy{Node: v.e.options.Node.Message(), Version: v.e.client.Status().Version, Resources: resources, Contents: v.contents(resources)}
	text, err := p.JSON(configdump.Query{Resource: q.Resource, Endpoints: q.Endpoints})
	if text == nil {
		return nil, err
	}
	return text, err
}

// contents are the certificates of the secrets among resources, and this proxy's own.
func (v view) contents(resources []compile.Dumped) map[string]configdump.Content {
	out := map[string]configdump.Content{}
	for _, d := range resources {
		if d.Type == "Secret" {
			chain, ca := v.e.secrets.Slot(d.Name).Public()
			out[d.Name] = configdump.Content{Chain: chain, CA: ca}
		}
	}
	if cert := v.e.options.Identity.Certificate(); cert != nil {
		out[wire.SecretWorkload] = configdump.Content{Chain: mtls.PEM(cert.Certificate...)}
	}
	var roots [][]byte
	for _, root := range v.e.options.Identity.Roots().Certificates() {
		roots = append(roots, root.Raw)
	}
	if roots != nil {
		out[wire.SecretRoot] = configdump.Content{CA: mtls.PEM(roots...)}
	}
	return out
}

type clusterView struct {
	Name      string         `json:"name"`
	Endpoints []endpointView `json:"endpoints"`
}

type endpointView struct {
	Address   string `json:"address"`
	Host      string `json:"host"`
	Identity  string `json:"identity"`
	Workload  string `json:"workload"`
	Namespace string `json:"namespace"`
	Weight    uint32 `json:"weight"`
	Priority  uint32 `json:"priority"`
	TLSMode   string `json:"tls_mode"`
	Healthy   bool   `json:"healthy"`
	Ejected   bool   `json:"ejected"`
	Active    int64  `json:"active"`
}

// Clusters implements admin.Proxy.
func (v view) Clusters() any {
	views := []clusterView{}
	v.e.store.Load().Set.Each(func(c *upstream.Cluster) {
		view := clusterView{Name: c.Name(), Endpoints: []endpointView{}}
		for _, host := range c.Hosts() {
			ep := host.Endpoint()
			v := endpointView{Address: ep.Address.String(), Host: ep.Host, Identity: ep.Identity, Weight: ep.Weight, Priority: ep.Priority,
				TLSMode: ep.TLSMode, Healthy: !ep.Unhealthy && !ep.Draining && !host.Sick(), Ejected: host.Ejected(), Active: host.Active()}
			if ep.Path != "" {
				v.Address = ep.Path
			}
			if ep.Workload != nil {
				v.Workload, v.Namespace = ep.Workload.Name, ep.Workload.Namespace
			}
			view.Endpoints = append(view.Endpoints, v)
		}
		views = append(views, view)
	})
	slices.SortFunc(views, func(a, b clusterView) int { return strings.Compare(a.Name, b.Name) })
	return views
}

type listenerView struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Bound     bool     `json:"bound"`
	Error     string   `json:"error,omitempty"` // why an address is not bound
	Chains    []string `json:"chains"`
}

// Listeners implements admin.Proxy.
func (v view) Listeners() any {
	views := []listenerView{}
	for _, l := range v.e.store.Load().Listeners {
		view := listenerView{Name: l.Name, Bound: v.e.manager.Addr(l.Name) != nil, Addresses: []string{}, Chains: []string{}}
		if err := v.e.sink.unbound.Load().among(func(name string) bool { return name == l.Name }); err != nil {
			view.Error = err.Error()
		}
		for _, bind := range l.Binds {
			view.Addresses = append(view.Addresses, bind.String())
		}
		for _, chain := range l.Chains {
			view.Chains = append(view.Chains, chain.Name)
		}
		if l.Default != nil {
			view.Chains = append(view.Chains, l.Default.Name)
		}
		views = append(views, view)
	}
	return views
}

type certificatesView struct {
	Workload *mtls.Facts  `json:"workload"`
	Roots    []mtls.Facts `json:"roots"`
	Secrets  []mtls.Facts `json:"secrets"`
}

// Certificates implements admin.Proxy: who the certificates are for, never a key.
func (v view) Certificates() any {
	view := certificatesView{Roots: []mtls.Facts{}, Secrets: v.e.secrets.Facts()}
	if cert := v.e.options.Identity.Certificate(); cert != nil {
		facts := mtls.FactsOf(wire.SecretWorkload, cert.Leaf)
		view.Workload = &facts
	}
	for _, root := range v.e.options.Identity.Roots().Certificates() {
		view.Roots = append(view.Roots, mtls.FactsOf(wire.SecretRoot, root))
	}
	return view
}

// Discovery implements admin.Proxy.
func (v view) Discovery() any { return v.e.client.Status() }

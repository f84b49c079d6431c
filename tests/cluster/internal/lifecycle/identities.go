package lifecycle

import (
	"net"
	"time"

	"github.com/heddle-mesh/heddle/tests/cluster/internal/pki"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/plan"
	"github.com/heddle-mesh/heddle/tests/cluster/internal/render"
)

// writeIdentities makes who's who of a new cluster: authorities, servers, and a kubeconfig for each program.
func (c Cluster) writeIdentities(now time.Time) error {
	ca, err := pki.NewAuthority("heddle-cluster", now)
	if err != nil {
		return err
	}
	private, public, err := pki.AccountKey()
	if err != nil {
		return err
	}
	l := c.Layout
	files := map[string][]byte{
		l.PKI("ca.pem"): ca.Certificate, l.PKI("ca-key.pem"): ca.Key,
		l.PKI("accounts.pem"): public, l.PKI("accounts-key.pem"): private,
	}
	for name, subject := range c.servers() {
		pair, err := ca.Issue(subject, now)
		if err != nil {
			return err
		}
		files[l.PKI(name+".pem")], files[l.PKI(name+"-key.pem")] = pair.Certificate, pair.Key
	}
	for path, subject := range c.users() {
		pair, err := ca.Issue(subject, now)
		if err != nil {
			return err
		}
		files[path] = render.Kubeconfig(c.Plan, ca.Certificate, subject.Name, pair)
	}
	if err := c.addOutside(files, now); err != nil {
		return err
	}
	for path, data := range files {
		if err := write(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// servers are certificates kept as files.
func (c Cluster) servers() map[string]pki.Subject {
	api := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + plan.ClusterDomain, "localhost"}
	out := map[string]pki.Subject{
		"apiserver":         {Name: "kube-apiserver", Hosts: api, Addresses: []net.IP{c.Plan.Control.AsSlice(), c.Plan.API.AsSlice()}},
		"apiserver-kubelet": {Name: "kube-apiserver", Groups: []string{"system:masters"}},
		"front-proxy":       {Name: "front-proxy"},
	}
	for _, n := range c.Plan.Nodes {
		out["kubelet-"+n.Name] = pki.Subject{Name: n.Name, Hosts: []string{n.Name}, Addresses: []net.IP{n.Address.AsSlice()}}
	}
	return out
}

// users are clients of the API server, by the path of their kubeconfig.
func (c Cluster) users() map[string]pki.Subject {
	l := c.Layout
	out := map[string]pki.Subject{
		l.Kubeconfig():                        {Name: "kubernetes-admin", Groups: []string{"system:masters"}},
		l.Identity("balancer"):                {Name: "heddle-balancer", Groups: []string{"system:masters"}},
		l.Identity("kube-controller-manager"): {Name: "system:kube-controller-manager"},
		l.Identity("kube-scheduler"):          {Name: "system:kube-scheduler"},
		l.Identity("kube-proxy"):              {Name: "system:kube-proxy"},
	}
	for _, n := range c.Plan.Nodes {
		out[l.Identity("kubelet-"+n.Name)] = pki.Subject{Name: "system:node:" + n.Name, Groups: []string{"system:nodes"}}
	}
	return out
}

// addOutside gives the outside world an authority that nobody trusts by default.
func (c Cluster) addOutside(files map[string][]byte, now time.Time) error {
	ca, err := pki.NewAuthority("heddle-outside", now)
	if err != nil {
		return err
	}
	subject := pki.Subject{Name: "outside.example"}
	for _, h := range c.Plan.OutsideHosts {
		subject.Hosts = append(subject.Hosts, h.Name)
	}
	for _, a := range c.Plan.OutsideAddresses() {
		subject.Addresses = append(subject.Addresses, a.AsSlice())
	}
	pair, err := ca.Issue(subject, now)
	if err != nil {
		return err
	}
	files[c.Layout.OutsideCA()] = ca.Certificate
	files[c.Layout.Data(plan.Outside, "ca-key.pem")] = ca.Key
	files[c.Layout.Data(plan.Outside, "server.pem")] = pair.Certificate
	files[c.Layout.Data(plan.Outside, "server-key.pem")] = pair.Key
	return nil
}

// Package plan is the test cluster on paper: its nodes, names and addresses. It is pure: it touches no machine, and whoever needs an
// address takes it from here.
package plan

import (
	"fmt"
	"net/netip"
)

// Names that every part of the cluster shares.
const (
	KubernetesVersion = "v1.37.2"
	ClusterDomain     = "cluster.local"
	Control           = "control"
	Outside           = "outside"
	Balancer          = "balancer"
	// EgressRole is both the label and the taint (NoSchedule) of the node through which traffic may leave.
	EgressRole = "node-role.heddle.io/egress"
	// MachineLink is the one interface that the cluster adds to the machine's own network.
	MachineLink = "heddle0"
	// APIPort is where the Kubernetes API listens on ControlAddress.
	APIPort = 6443
	// PauseImage holds every pod's namespaces.
	PauseImage = "heddle.local/pause:1"
	// ToolboxImage is the test programs' image, and DNSImage CoreDNS.
	ToolboxImage = "heddle.local/toolbox:1"
	DNSImage     = "heddle.local/coredns:1"
)

// Node is one Kubernetes node: a set of namespaces on this machine.
type Node struct {
	Name    string
	Address netip.Addr   // towards the other nodes
	Pods    netip.Prefix // of the pods that run here
	Zone    string
	Egress  bool       // labelled and tainted for egress
	Leaves  netip.Addr // its address in the outside network; invalid where there is no way out
}

// Plan is every address of the cluster.
type Plan struct {
	Nodes        []Node
	NodeNet      netip.Prefix
	Pods         netip.Prefix // all nodes' pods
	Services     netip.Prefix
	Pool         netip.Prefix // LoadBalancer addresses
	Control      netip.Addr   // the API server's
	Machine      netip.Addr   // the machine's end of MachineLink
	API          netip.Addr   // ClusterIP of the service `kubernetes`
	DNS          netip.Addr   // ClusterIP of the cluster's DNS
	OutsideNet   netip.Prefix
	OutsideHosts []Host
}

// Host is a name and address in the outside world.
type Host struct {
	Name    string
	Address netip.Addr
}

// Default is the only plan there is: two clusters on one machine are not supported.
func Default() Plan {
	return Plan{
		Nodes: []Node{
			node("worker", 1, "zone-a", false, ""),
			node("edge", 2, "zone-b", true, "203.0.113.2"),
			node("roamer", 3, "zone-c", false, "203.0.113.3"),
		},
		NodeNet:      netip.MustParsePrefix("10.87.0.0/24"),
		Pods:         netip.MustParsePrefix("10.87.64.0/18"),
		Services:     netip.MustParsePrefix("10.87.128.0/20"),
		Pool:         netip.MustParsePrefix("10.87.8.0/24"),
		Control:      netip.MustParseAddr("10.87.0.1"),
		Machine:      netip.MustParseAddr("10.87.0.254"),
		API:          netip.MustParseAddr("10.87.128.1"),
		DNS:          netip.MustParseAddr("10.87.128.10"),
		OutsideNet:   netip.MustParsePrefix("203.0.113.0/24"),
		OutsideHosts: outsideHosts(),
	}
}

func node(name string, number byte, zone string, egress bool, leaves string) Node {
	n := Node{
		Name:    name,
		Address: netip.AddrFrom4([4]byte{10, 87, 0, 10 + number}),
		Pods:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 87, 63 + number, 0}), 24),
		Zone:    zone,
		Egress:  egress,
	}
	if leaves != "" {
		n.Leaves = netip.MustParseAddr(leaves)
	}
	return n
}

func outsideHosts() []Host {
	first, second := netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("203.0.113.11")
	return []Host{
		{"outside.example", first},
		{"api.outside.example", first},
		{"tcp.outside.example", first},
		{"other.example", second},
		{"unlisted.example", second},
	}
}

// OutsideAddresses are the addresses of the outside hosts, each once.
func (p Plan) OutsideAddresses() []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, h := range p.OutsideHosts {
		if !seen[h.Address] {
			out = append(out, h.Address)
			seen[h.Address] = true
		}
	}
	return out
}

// APIURL is where the API server answers, from the machine, the nodes and the pods.
func (p Plan) APIURL() string {
	return fmt.Sprintf("https://%s:%d", p.Control, APIPort)
}

// Namespace is the name of the network namespace of a node, of Control or of Outside.
func Namespace(name string) string { return "heddle-" + name }

// Namespaces are all network namespaces that the cluster makes.
func (p Plan) Namespaces() []string {
	out := []string{Namespace(Control)}
	for _, n := range p.Nodes {
		out = append(out, Namespace(n.Name))
	}
	return append(out, Namespace(Outside))
}

// Groups are the supervised groups of processes in the order of their start.
func (p Plan) Groups() []string {
	out := []string{Control}
	for _, n := range p.Nodes {
		out = append(out, n.Name)
	}
	return append(out, Outside, Balancer)
}

// Commands are the iproute2 commands that build the cluster's network from nothing, without the leading `ip`.
func (p Plan) Commands() []string {
	var c []string
	add := func(format string, args ...any) { c = append(c, fmt.Sprintf(format, args...)) }
	bits := p.NodeNet.Bits()
	for _, ns := range p.Namespaces() {
		add("netns add %s", ns)
		add("-n %s link set lo up", ns)
	}
	control, outside := Namespace(Control), Namespace(Outside)
	add("-n %s link add br0 type bridge", control)
	add("-n %s addr add %s/%d dev br0", control, p.Control, bits)
	add("-n %s link set br0 up", control)
	add("link add %s type veth peer name machine netns %s", MachineLink, control)
	add("-n %s link set machine master br0 up", control)
	add("addr add %s/%d dev %s", p.Machine, bits, MachineLink)
	add("link set %s up", MachineLink)
	add("-n %s link add out0 type bridge", outside)
	for _, a := range p.OutsideAddresses() {
		add("-n %s addr add %s/%d dev out0", outside, a, p.OutsideNet.Bits())
	}
	add("-n %s link set out0 up", outside)
	for _, n := range p.Nodes {
		c = append(c, p.linkNode(n)...)
	}
	return append(c, p.routes()...)
}

// linkNode wires a node to the others and, where it may leave, to the outside.
func (p Plan) linkNode(n Node) []string {
	ns, control, outside := Namespace(n.Name), Namespace(Control), Namespace(Outside)
	c := []string{
		fmt.Sprintf("-n %s link add eth0 type veth peer name %s netns %s", ns, n.Name, control),
		fmt.Sprintf("-n %s link set %s master br0 up", control, n.Name),
		fmt.Sprintf("-n %s addr add %s/%d dev eth0", ns, n.Address, p.NodeNet.Bits()),
		fmt.Sprintf("-n %s link set eth0 up", ns),
	}
	if !n.Leaves.IsValid() {
		return c
	}
	return append(c,
		fmt.Sprintf("-n %s link add outside0 type veth peer name %s netns %s", ns, n.Name, outside),
		fmt.Sprintf("-n %s link set %s master out0 up", outside, n.Name),
		fmt.Sprintf("-n %s addr add %s/%d dev outside0", ns, n.Leaves, p.OutsideNet.Bits()),
		fmt.Sprintf("-n %s link set outside0 up", ns),
		fmt.Sprintf("-n %s route add %s via %s", outside, n.Pods, n.Leaves),
	)
}

// routes lead pods to pods, and the machine to everything. A process on a node that connects to a ClusterIP needs a route
// before kube-proxy sees the packet, so the service range and the pool have one that leads to the neighbours.
func (p Plan) routes() []string {
	var c []string
	add := func(format string, args ...any) { c = append(c, fmt.Sprintf(format, args...)) }
	for _, at := range p.Nodes {
		ns := Namespace(at.Name)
		for _, to := range p.Nodes {
			if to.Name != at.Name {
				add("-n %s route add %s via %s", ns, to.Pods, to.Address)
			}
		}
		add("-n %s route add %s dev eth0", ns, p.Services)
		add("-n %s route add %s dev eth0", ns, p.Pool)
		add("-n %s route add %s via %s", Namespace(Control), at.Pods, at.Address)
		add("route add %s via %s", at.Pods, at.Address)
	}
	add("-n %s route add %s dev br0", Namespace(Control), p.Services)
	add("-n %s route add %s dev br0", Namespace(Control), p.Pool)
	add("route add %s via %s", p.Services, p.Control)
	add("route add %s via %s", p.Pool, p.Nodes[0].Address)
	return c
}

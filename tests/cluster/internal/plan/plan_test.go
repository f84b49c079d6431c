package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestRangesDoNotOverlap(t *testing.T) {
	p := Default()
	ranges := []netip.Prefix{p.NodeNet, p.Pods, p.Services, p.Pool, p.OutsideNet}
	for i, a := range ranges {
		for _, b := range ranges[i+1:] {
			if a.Overlaps(b) {
				t.Errorf("%s overlaps %s", a, b)
			}
		}
	}
	for i, a := range p.Nodes {
		for _, b := range p.Nodes[i+1:] {
			if a.Pods.Overlaps(b.Pods) {
				t.Errorf("the pods of %s and %s overlap", a.Name, b.Name)
			}
		}
	}
}

func TestAddressesLieInTheirRanges(t *testing.T) {
	p := Default()
	within := func(name string, r netip.Prefix, a netip.Addr) {
		t.Helper()
		if !r.Contains(a) {
			t.Errorf("%s: %s is not in %s", name, a, r)
		}
	}
	within("control", p.NodeNet, p.Control)
	within("machine", p.NodeNet, p.Machine)
	within("API", p.Services, p.API)
	within("DNS", p.Services, p.DNS)
	seen := map[netip.Addr]bool{p.Control: true, p.Machine: true}
	for _, n := range p.Nodes {
		within(n.Name, p.NodeNet, n.Address)
		if seen[n.Address] {
			t.Errorf("%s has the address %s of another", n.Name, n.Address)
		}
		seen[n.Address] = true
		if n.Pods.Masked() != n.Pods || !p.Pods.Overlaps(n.Pods) || n.Pods.Bits() < p.Pods.Bits() {
			t.Errorf("%s: %s is not a part of %s", n.Name, n.Pods, p.Pods)
		}
		if n.Leaves.IsValid() {
			within(n.Name, p.OutsideNet, n.Leaves)
		}
	}
	for _, h := range p.OutsideHosts {
		within(h.Name, p.OutsideNet, h.Address)
	}
}

// The cluster exists to show that only some nodes have a way out.
func TestOnlyEdgeAndRoamerLeave(t *testing.T) {
	p := Default()
	for _, n := range p.Nodes {
		leaves := slices.Contains([]string{"edge", "roamer"}, n.Name)
		if n.Leaves.IsValid() != leaves {
			t.Errorf("%s leaves: %v, want %v", n.Name, n.Leaves.IsValid(), leaves)
		}
		if n.Egress != (n.Name == "edge") {
			t.Errorf("%s is marked for egress: %v", n.Name, n.Egress)
		}
	}
	for _, c := range p.Commands() {
		if strings.HasPrefix(c, "-n "+Namespace("worker")+" ") && (strings.Contains(c, "outside") || strings.Contains(c, "default") || strings.Contains(c, "203.0.113")) {
			t.Errorf("worker gets a way out: ip %s", c)
		}
	}
}

// On the machine itself the cluster may leave exactly one interface and routes through it, which go with it.
func TestTheMachineKeepsOneInterface(t *testing.T) {
	var links []string
	for _, c := range Default().Commands() {
		if strings.HasPrefix(c, "link add ") {
			links = append(links, c)
		}
	}
	if len(links) != 1 || !strings.HasPrefix(links[0], "link add "+MachineLink+" ") {
		t.Errorf("interfaces made on the machine: %q", links)
	}
	if len(MachineLink) > 15 {
		t.Errorf("the kernel takes no interface name as long as %q", MachineLink)
	}
}

// Package allocate gives addresses to hosts of ServiceEntries that have none. It is PURE.
package allocate

import (
	"hash/fnv"
	"net/netip"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
)

// allocationLabel says "false", in whatever case, where a ServiceEntry's hosts are not to be given addresses.
const allocationLabel = "networking.istio.io/enable-autoallocate-ip"

// blockSize is how many addresses of a block are given to hosts: 1 up to this, in the last two bytes.
const blockSize = 1<<16 - 2

// Host is one host of a ServiceEntry.
type Host struct {
	Entry model.Name
	Host  string
}

// Of is a host of an entry.
func Of(o *inputs.ServiceEntry, s *model.Service) Host {
	return Host{model.Name{Namespace: o.Namespace, Name: o.Name}, s.Host}
}

// Table gives addresses to hosts of ServiceEntries that have none, one of each family, of the blocks that Istio gives them of. Addresses that a
// status tells stay; others follow from the host's name, so that every replica of the control plane gives the same before one was written down.
type Table struct {
	blocks []netip.Prefix
	taken  map[netip.Addr]bool
	kept   map[Host]map[netip.Prefix]netip.Addr
}

// New returns a Table that has given nothing.
func New() *Table {
	return &Table{
		blocks: []netip.Prefix{netip.MustParsePrefix("240.240.0.0/16"), netip.MustParsePrefix("2001:2::/48")},
		taken:  map[netip.Addr]bool{}, kept: map[Host]map[netip.Prefix]netip.Addr{},
	}
}

// Lacks reports whether a host is to be given addresses. One that is asked for by address (NONE) has no use for one, nor one that is no single
// name, unless each of its names is looked up (DYNAMIC_DNS).
func Lacks(o *inputs.ServiceEntry, s *model.Service) bool {
	if len(s.Addresses) > 0 || s.Resolution == model.ResolvePassthrough || strings.EqualFold(o.Labels[allocationLabel], "false") {
		return false
	}
	return s.Resolution == model.ResolveNamed || !strings.HasPrefix(s.Host, "*")
}

// Keep takes the addresses of an entry out of what may be given: its own, and those that it was given before. Of two that were given one, the first
// keeps it.
func (t *Table) Keep(o *inputs.ServiceEntry, services []*model.Service) {
	for _, s := range services {
		for _, own := range s.Addresses {
			if ip, err := netip.ParseAddr(own); err == nil {
				t.taken[ip] = true
			}
		}
		if !Lacks(o, s) {
			continue
		}
		key := Of(o, s)
		for _, given := range o.Given {
			ip, err := netip.ParseAddr(given.Value)
			if err != nil || !strings.EqualFold(given.Host, s.Host) || t.taken[ip] {
				continue
			}
			for _, block := range t.blocks {
				if _, has := t.kept[key][block]; !has && block.Contains(ip) {
					t.keepOne(key, block, ip)
				}
			}
		}
	}
}

func (t *Table) keepOne(key Host, block netip.Prefix, ip netip.Addr) {
	if t.kept[key] == nil {
		t.kept[key] = map[netip.Prefix]netip.Addr{}
	}
	t.kept[key][block], t.taken[ip] = ip, true
}

// Of returns the addresses of a host, fewer where a block is exhausted.
func (t *Table) Of(key Host) []string {
	sum := fnv.New64a()
	sum.Write([]byte(key.Entry.Namespace + "/" + key.Entry.Name + "/" + key.Host)) // never fails
	first := sum.Sum64() % blockSize
	var out []string
	for _, block := range t.blocks {
		ip, has := t.kept[key][block]
		for i := uint64(0); !has && i < blockSize; i++ {
			if ip = within(block, uint16((first+i)%blockSize+1)); !t.taken[ip] {
				t.keepOne(key, block, ip)
				has = true
			}
		}
		if has {
			out = append(out, ip.String())
		}
	}
	return out
}

// within is the address of a block whose last two bytes are n.
func within(block netip.Prefix, n uint16) netip.Addr {
	bytes := block.Addr().AsSlice()
	bytes[len(bytes)-2], bytes[len(bytes)-1] = byte(n>>8), byte(n)
	out, _ := netip.AddrFromSlice(bytes)
	return out
}

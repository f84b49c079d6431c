package translate

import (
	"hash/fnv"
	"net/netip"
	"strings"

	"github.com/heddle-mesh/heddle/pilot/inputs"
	"github.com/heddle-mesh/heddle/pilot/model"
	"github.com/heddle-mesh/heddle/pilot/translate/registry"
)

// allocationLabel says "false" where a ServiceEntry's hosts are not to be given addresses.
const allocationLabel = "networking.istio.io/enable-autoallocate-ip"

// blockSize is how many addresses of a block are given to hosts: 1 up to this, in the last two bytes.
const blockSize = 1<<16 - 2

// entryHost is one host of a ServiceEntry.
type entryHost struct {
	entry model.Name
	host  string
}

// allocation gives addresses to hosts of ServiceEntries that have none, one of each family, of the blocks that Istio gives them of. Addresses that a
// status tells stay; others follow from the host's name, so that every replica of the control plane gives the same before one was written down.
type allocation struct {
	blocks []netip.Prefix
	taken  map[netip.Addr]bool
	kept   map[entryHost]map[netip.Prefix]netip.Addr
}

func newAllocation() *allocation {
	return &allocation{
		blocks: []netip.Prefix{netip.MustParsePrefix("240.240.0.0/16"), netip.MustParsePrefix("2001:2::/48")},
		taken:  map[netip.Addr]bool{}, kept: map[entryHost]map[netip.Prefix]netip.Addr{},
	}
}

// lacks reports whether a host is to be given addresses. One that is asked for by address (NONE) or is no single name has no use for one.
func lacks(o *inputs.ServiceEntry, s *model.Service) bool {
	return len(s.Addresses) == 0 && s.Resolution != model.ResolvePassthrough && !strings.HasPrefix(s.Host, "*") && o.Labels[allocationLabel] != "false"
}

// keep takes the addresses of an entry out of what may be given: its own, and those that it was given before. Of two that were given one, the first
// keeps it.
func (a *allocation) keep(o *inputs.ServiceEntry, e *registry.ServiceEntry) {
	for _, s := range e.Services {
		for _, own := range s.Addresses {
			if ip, err := netip.ParseAddr(own); err == nil {
				a.taken[ip] = true
			}
		}
		if !lacks(o, s) {
			continue
		}
		key := entryHost{nameOf(o), s.Host}
		for _, given := range o.Given {
			ip, err := netip.ParseAddr(given.Value)
			if err != nil || !strings.EqualFold(given.Host, s.Host) || a.taken[ip] {
				continue
			}
			for _, block := range a.blocks {
				if _, has := a.kept[key][block]; !has && block.Contains(ip) {
					a.keepOne(key, block, ip)
				}
			}
		}
	}
}

func (a *allocation) keepOne(key entryHost, block netip.Prefix, ip netip.Addr) {
	if a.kept[key] == nil {
		a.kept[key] = map[netip.Prefix]netip.Addr{}
	}
	a.kept[key][block], a.taken[ip] = ip, true
}

// of returns the addresses of a host, fewer where a block is exhausted.
func (a *allocation) of(key entryHost) []string {
	sum := fnv.New64a()
	sum.Write([]byte(key.entry.Namespace + "/" + key.entry.Name + "/" + key.host)) // never fails
	first := sum.Sum64() % blockSize
	var out []string
	for _, block := range a.blocks {
		ip, has := a.kept[key][block]
		for i := uint64(0); !has && i < blockSize; i++ {
			if ip = within(block, uint16((first+i)%blockSize+1)); !a.taken[ip] {
				a.keepOne(key, block, ip)
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

// allocated is a host of a ServiceEntry with the addresses that the mesh gives it.
func (r *run) allocated(o *inputs.ServiceEntry, s *model.Service, a *allocation) *model.Service {
	if !lacks(o, s) {
		return s
	}
	key := entryHost{nameOf(o), s.Host}
	out := *s
	out.Allocated = a.of(key)
	return r.memo.allocated.intern(key, &out)
}
